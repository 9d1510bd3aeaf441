// SPDX-License-Identifier: Apache-2.0
#include "fake/injection.hpp"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <unistd.h>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fake/device.hpp"

namespace fake {

constinit std::atomic<bool> any_faults{false};

namespace {

struct rule {
  function of;
  int nth = 1, result = 0, rank = -1, milliseconds = 0, seen = 0;
  fake_gpu::action what = fake_gpu::action::fail;
  bool every = false;
};
struct rules_and_mutex {
  std::mutex mutex;
  std::vector<rule> rules;
};
rules_and_mutex& all() {
  static auto& a = *new rules_and_mutex;
  return a;
}

[[noreturn]] void unreadable(std::string_view text) {
  std::fprintf(stderr, "fake_gpu: no such fault: %.*s\n", static_cast<int>(text.size()), text.data());
  std::abort();
}

void add(const rule& r) {
  const std::lock_guard lock(all().mutex);
  all().rules.push_back(r);
  any_faults.store(true, std::memory_order_release);
}

std::optional<int> environment_rank() {
  const char* text = std::getenv("RANK");
  return text != nullptr ? std::optional<int>(std::atoi(text)) : std::nullopt;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

int result_named(std::string_view text) {
  if (const auto value = number(text)) return *value;
  constexpr std::pair<std::string_view, ncclResult_t> nccl[] = {{"ncclUnhandledCudaError", ncclUnhandledCudaError},
                                                                {"ncclSystemError", ncclSystemError},
                                                                {"ncclInternalError", ncclInternalError},
                                                                {"ncclInvalidArgument", ncclInvalidArgument},
                                                                {"ncclInvalidUsage", ncclInvalidUsage},
                                                                {"ncclRemoteError", ncclRemoteError},
                                                                {"ncclInProgress", ncclInProgress}};
  for (const auto& [name, result] : nccl) {
    if (name == text) return result;
  }
  for (int i = 1; i < 1000; ++i) {
    if (cuda_error_name(static_cast<cudaError_t>(i)) == text) return i;
  }
  unreadable(text);
}

// Cuts the text up to `separator` off.
std::string_view cut(std::string_view& text, char separator) {
  const auto at = text.find(separator);
  const auto head = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return head;
}

void add_text(std::string_view one) {
  const std::string_view whole = one;
  rule r;
  if (one.starts_with("rank=")) {
    auto head = cut(one, ':');
    const auto rank = number(head.substr(5));
    if (!rank) unreadable(whole);
    if (rank != environment_rank()) return;
  }
  const auto of = function_named(cut(one, ':'));
  auto nth = cut(one, ':');
  if (nth.ends_with('+')) {
    r.every = true;
    nth.remove_suffix(1);
  }
  const auto n = number(nth);
  if (!of || !n || one.empty()) unreadable(whole);
  r.of = *of;
  r.nth = *n;
  if (one == "hang") {
    r.what = fake_gpu::action::hang;
  } else if (one == "kill") {
    r.what = fake_gpu::action::kill;
  } else if (one == "kill-inside") {
    r.what = fake_gpu::action::kill_inside;
  } else if (one.starts_with("async=")) {
    r.what = fake_gpu::action::async_error;
    r.result = result_named(one.substr(6));
  } else if (one.starts_with("delay=")) {
    r.what = fake_gpu::action::delay;
    const auto ms = number(one.substr(6));
    if (!ms) unreadable(whole);
    r.milliseconds = *ms;
  } else {
    r.result = result_named(one);
  }
  add(r);
}

}  // namespace

std::optional<fault> find_fault(function f, int rank) {
  if (rank < 0) rank = environment_rank().value_or(current_device());
  rule hit;
  bool found = false;
  {
    const std::lock_guard lock(all().mutex);
    for (rule& r : all().rules) {
      if (r.of != f || (r.rank >= 0 && r.rank != rank)) continue;
      ++r.seen;
      if (!found && (r.seen == r.nth || (r.every && r.seen > r.nth))) {
        hit = r;
        found = true;
      }
    }
  }
  if (!found) return std::nullopt;
  const bool collective = f >= function::ncclAllReduce && f <= function::ncclRecv;
  const bool may_go_on = collective || f == function::ncclCommInitRank || f == function::ncclCommInitRankConfig ||
                         f == function::ncclCommSplit || f == function::ncclCommFinalize;
  if (hit.what == fake_gpu::action::delay && !may_go_on) {
    std::this_thread::sleep_for(std::chrono::milliseconds(hit.milliseconds));
    return std::nullopt;
  }
  if (hit.what == fake_gpu::action::kill) kill(getpid(), SIGKILL);
  return fault{hit.what, hit.result, hit.milliseconds};
}

namespace {
// Faults of this process, before its first call.
const bool environment_read = [] {
  if (const char* text = std::getenv("FAKE_GPU_INJECT")) fake_gpu::inject_text(text);
  return true;
}();
}  // namespace

}  // namespace fake

namespace fake_gpu {

void inject(const injection& i) {
  const auto of = fake::function_named(i.function);
  if (!of) fake::unreadable(i.function);
  fake::rule r;
  r.of = *of;
  r.nth = i.nth;
  r.result = i.result;
  r.rank = i.rank;
  r.milliseconds = i.milliseconds;
  r.what = i.what;
  r.every = i.every;
  fake::add(r);
}

void inject_text(std::string_view text) {
  while (!text.empty()) {
    const auto one = fake::cut(text, ';');
    if (!one.empty()) fake::add_text(one);
  }
}

void clear_injections() {
  const std::lock_guard lock(fake::all().mutex);
  fake::all().rules.clear();
  fake::any_faults.store(false, std::memory_order_release);
}

}  // namespace fake_gpu
