// SPDX-License-Identifier: Apache-2.0
#include "fake/report.hpp"

#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "fake/counters.hpp"
#include "fake/fake_gpu.hpp"

namespace fake {
namespace {

std::mutex& mutex() {
  static auto& m = *new std::mutex;
  return m;
}
char last[1024];  // one per process, as in NCCL (debug.cc ncclLastError)

// `aloud`: on stderr where there is no log.
void write_line(const char* text, bool aloud) {
  const char* path = std::getenv("FAKE_GPU_LOG");
  if (path == nullptr && !aloud) return;
  char line[1200];
  const int size = std::snprintf(line, sizeof line, "fake_gpu[%d]: %s\n", static_cast<int>(getpid()), text);
  std::FILE* to = path != nullptr ? std::fopen(path, "ae") : stderr;
  if (to == nullptr) return;
  std::fwrite(line, 1, static_cast<std::size_t>(size), to);
  if (to != stderr) std::fclose(to);
}

void say(const char* text, bool aloud) {
  const std::lock_guard lock(mutex());
  std::snprintf(last, sizeof last, "%s", text);
  write_line(text, aloud);
}

}  // namespace

ncclResult_t refuse(misuse what, const char* format, ...) {
  const refusal& entry = entry_of(what);
  char text[900];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  char sentence[1024];
  std::snprintf(sentence, sizeof sentence, "%.*s: %s", static_cast<int>(entry.name.size()), entry.name.data(), text);
  const bool finding = entry.kind == in_nccl::hang_or_corrupt;
  say(sentence, finding);
  if (finding) counts().findings.fetch_add(1);  // who sees it counted finds the sentence
  return entry.result;
}

void warn(const char* format, ...) {
  char text[1024];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  say(text, false);
}

void set_last_error(const char* text) {
  const std::lock_guard lock(mutex());
  std::snprintf(last, sizeof last, "%s", text);
}

const char* last_error() {
  thread_local char copy[sizeof last];
  const std::lock_guard lock(mutex());
  std::memcpy(copy, last, sizeof last);
  return copy;
}

}  // namespace fake

std::string fake_gpu::last_report() { return fake::last_error(); }
