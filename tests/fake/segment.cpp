// SPDX-License-Identifier: Apache-2.0
#include "fake/segment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <set>
#include <vector>

#include "fake/counters.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/report.hpp"

namespace fake {

struct segment::first_page {
  std::atomic<std::uint32_t> size;  // of the world, 0 until the first rank says it
  std::atomic<std::uint32_t> bell;
  std::atomic<std::uint32_t> poison;  // 0, 1: being written, 2: written
  std::int32_t poison_result;
  char poison_text[text_capacity];
};

namespace {

constexpr char prefix[] = "fake_gpu.";

constexpr std::size_t rounded(std::size_t bytes) { return (bytes + 4095) / 4096 * 4096; }
std::size_t slots_at() { return 4096; }
std::size_t stages_at(std::size_t n) { return slots_at() + rounded(n * sizeof(rank_slot)); }
std::size_t channels_at(std::size_t n) { return stages_at(n) + n * 2 * segment::stage_capacity; }
std::size_t bytes_of(std::size_t n) { return channels_at(n) + n * n * sizeof(channel); }

// When a process started, and whether it is there at all; a zombie is not.
bool started(int pid, std::uint64_t& when) {
  char path[40], text[600];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const auto size = read(file, text, sizeof text - 1);
  close(file);
  if (size <= 0) return false;
  text[size] = '\0';
  const char* at = std::strrchr(text, ')');  // the name before it may hold anything
  if (at == nullptr) return false;
  char state = 0;
  unsigned long long start = 0;
  if (std::sscanf(at + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                  &start) != 2) {
    return false;
  }
  when = start;
  return state != 'Z' && state != 'X';
}

// Files that this process has created and that may still be there: removed when it ends.
struct created_files {
  std::mutex mutex;
  std::set<std::string> paths;
};
created_files& created() {
  static auto& c = *new created_files;
  return c;
}
struct remove_at_exit {
  ~remove_at_exit() {
    const std::lock_guard lock(created().mutex);
    for (const auto& path : created().paths) unlink(path.c_str());
  }
} remover;

std::vector<std::string> our_files() {
  std::vector<std::string> paths;
  const std::string folder = segment::folder();
  if (DIR* d = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(d)) {
      if (std::strncmp(entry->d_name, prefix, sizeof prefix - 1) == 0) paths.push_back(folder + '/' + entry->d_name);
    }
    closedir(d);
  }
  return paths;
}

// Files of processes that were killed before they could remove them.
void sweep() {
  for (const auto& path : our_files()) {
    const char* name = std::strrchr(path.c_str(), '/') + 1;
    std::uint64_t when = 0;
    if (const int pid = std::atoi(name + sizeof prefix - 1); pid > 0 && !started(pid, when)) unlink(path.c_str());
  }
}

}  // namespace

std::string segment::folder() {
  static const auto& path = *new std::string([]() -> std::string {
    if (const char* ours = std::getenv("FAKE_GPU_FOLDER")) return ours;
    if (access("/dev/shm", W_OK) == 0) return "/dev/shm";
    const char* temporary = std::getenv("TMPDIR");
    return temporary != nullptr ? temporary : "/tmp";
  }());
  return path;
}

std::string segment::create() {
  static std::atomic<unsigned> last{0};
  sweep();
  char path[path_capacity];
  std::uint64_t when = 0;
  started(getpid(), when);
  const int size = std::snprintf(path, sizeof path, "%s/%s%d.%llx.%u", folder().c_str(), prefix,
                                 static_cast<int>(getpid()), static_cast<unsigned long long>(when), ++last);
  if (size < 0 || static_cast<std::size_t>(size) >= sizeof path) return {};
  const int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return {};
  const bool sized = ftruncate(file, 4096) == 0;
  close(file);
  if (!sized) {
    unlink(path);
    return {};
  }
  const std::lock_guard lock(created().mutex);
  created().paths.insert(path);
  return path;
}

void segment::remove(const std::string& path) {
  unlink(path.c_str());
  const std::lock_guard lock(created().mutex);
  created().paths.erase(path);
}

std::shared_ptr<segment> segment::join(const std::string& path, int size, int rank, int device, ncclResult_t& error,
                                       presence as) {
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) {
    error = refuse(misuse::bad_id, "rank %d: the id was used before, or who made it is gone", rank);
    return nullptr;
  }
  const auto n = static_cast<std::size_t>(size);
  error = ncclSystemError;
  // The first page says how large the world is; the rest of the file is that large.
  void* first = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (first == MAP_FAILED) {
    warn("rank %d cannot map %s: %s", rank, path.c_str(), std::strerror(errno));
    close(file);
    return nullptr;
  }
  std::uint32_t seen = 0;
  auto* page = static_cast<first_page*>(first);
  const bool same = page->size.compare_exchange_strong(seen, static_cast<std::uint32_t>(size)) ||
                    seen == static_cast<std::uint32_t>(size);
  munmap(first, 4096);
  void* whole = MAP_FAILED;
  if (same && ftruncate(file, static_cast<off_t>(bytes_of(n))) == 0) {
    whole = mmap(nullptr, bytes_of(n), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  close(file);
  if (!same) {
    error = refuse(misuse::sizes_of_world_disagree, "rank %d says %d ranks, another one %u", rank, size, seen);
    return nullptr;
  }
  if (whole == MAP_FAILED) {
    warn("rank %d cannot map %s: %s", rank, path.c_str(), std::strerror(errno));
    return nullptr;
  }
  std::shared_ptr<segment> s(new segment);
  ++counts().segments;
  s->page_ = static_cast<first_page*>(whole);
  s->bytes_ = bytes_of(n);
  s->size_ = size;
  rank_slot& mine = s->slot(rank);
  if (mine.taken.exchange(1) != 0) {
    error = refuse(misuse::rank_taken, "rank %d of %d", rank, size);
    return nullptr;
  }
  mine.pid = getpid();
  started(mine.pid, mine.start_time);
  mine.host_hash = host_hash();
  mine.device = device;
  mine.state.store(as, std::memory_order_release);
  s->ring();
  error = ncclSuccess;
  return s;
}

segment::~segment() {
  if (page_ == nullptr) return;
  munmap(page_, bytes_);
  --counts().segments;
}

rank_slot& segment::slot(int rank) const {
  auto* at = reinterpret_cast<std::byte*>(page_) + slots_at();
  return reinterpret_cast<rank_slot*>(at)[rank];
}
std::byte* segment::stage(int rank, std::uint64_t step) const {
  auto* at = reinterpret_cast<std::byte*>(page_) + stages_at(static_cast<std::size_t>(size_));
  return at + (static_cast<std::size_t>(rank) * 2 + (step & 1)) * stage_capacity;
}
channel& segment::between(int from, int to) const {
  auto* at = reinterpret_cast<std::byte*>(page_) + channels_at(static_cast<std::size_t>(size_));
  return reinterpret_cast<channel*>(at)[from * size_ + to];
}

void segment::end(int rank, presence how) {
  auto there = presence::joined;
  slot(rank).state.compare_exchange_strong(there, how, std::memory_order_acq_rel);
  ring();
}

void segment::ring() {
  page_->bell.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &page_->bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}
std::uint32_t segment::bell() const { return page_->bell.load(std::memory_order_acquire); }
void segment::wait(std::uint32_t seen) const {
  timespec limit{0, 20'000'000};
  syscall(SYS_futex, &page_->bell, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

bool segment::gone(int rank) const {
  const rank_slot& s = slot(rank);
  const auto state = s.state.load(std::memory_order_acquire);
  if (state == presence::never) return false;
  if (state != presence::joined) return true;
  if (s.pid == getpid()) return false;
  std::uint64_t when = 0;
  return !started(s.pid, when) || when != s.start_time;
}

bool segment::claim_poison() {
  std::uint32_t none = 0;
  return page_->poison.compare_exchange_strong(none, 1);
}
void segment::poison(ncclResult_t result, const char* text) {
  page_->poison_result = result;
  std::snprintf(page_->poison_text, sizeof page_->poison_text, "%s", text);
  page_->poison.store(2, std::memory_order_release);
  ring();
}
ncclResult_t segment::poisoned() const {
  if (page_->poison.load(std::memory_order_acquire) != 2) return ncclSuccess;
  return static_cast<ncclResult_t>(page_->poison_result);
}
const char* segment::poison_text() const { return page_->poison_text; }

std::uint64_t hash_of(const char* text, std::size_t capacity) {
  std::uint64_t hash = 14695981039346656037ull;  // FNV-1a
  for (std::size_t i = 0; i < capacity && text[i] != '\0'; ++i) {
    hash = (hash ^ static_cast<unsigned char>(text[i])) * 1099511628211ull;
  }
  return hash;
}

std::uint64_t host_hash() {
  static const std::uint64_t hash = [] {
    if (const char* id = std::getenv("NCCL_HOSTID")) return hash_of(id, 4096);
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    return hash_of(name, sizeof name);
  }();
  return hash;
}

}  // namespace fake

std::vector<std::string> fake_gpu::files() {
  auto paths = fake::our_files();
  if (std::getenv("FAKE_GPU_FOLDER") != nullptr) return paths;
  const std::string mine = fake::segment::folder() + '/' + fake::prefix + std::to_string(getpid()) + '.';
  std::erase_if(paths, [&](const std::string& path) { return !path.starts_with(mine); });
  return paths;
}
