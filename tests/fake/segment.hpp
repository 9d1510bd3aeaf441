// SPDX-License-Identifier: Apache-2.0
// The memory that the ranks of one communicator share, be they threads or processes: who is there, what each one calls,
// and their data. It begins as a file of zeros, which are its valid first state; the file goes when all have mapped it.
#pragma once
#include <nccl.h>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace fake {

/// A collective as one rank calls it; ranks compare it.
struct call_header {
  std::uint64_t sequence = 0, part = 0, count = 0;
  std::int32_t kind = 0, type = 0, op = 0, root = 0;
  bool operator==(const call_header&) const = default;
};

enum class presence : std::uint32_t { never, joined, left, failed };

constexpr std::size_t path_capacity = 100;

struct split_entry {
  std::int32_t color = 0, key = 0;
  char path[path_capacity] = {};
};

struct alignas(64) rank_slot {
  std::atomic<std::uint32_t> taken;  // the first one who sets it has the place
  std::atomic<presence> state;
  std::int32_t pid, device;
  std::uint64_t start_time, host_hash;
  // Steps of collectives: `arrived` many are in the stage of this rank. Two stages take turns.
  std::atomic<std::uint64_t> arrived;
  call_header header[2];
  // Splits: the entries and, by their leader, the paths.
  std::atomic<std::uint64_t> split_arrived, split_path_arrived;
  split_entry split[2];
};

/// One direction between two ranks: a ring of two parts.
struct alignas(64) channel {
  static constexpr std::size_t capacity = 16 * 1024;
  struct part {
    std::uint64_t total, size;
    std::int32_t type;
    std::byte bytes[capacity];
  };
  std::atomic<std::uint64_t> written, read;
  part parts[2];
};

class segment {
 public:
  static constexpr std::size_t stage_capacity = 64 * 1024;
  static constexpr std::size_t text_capacity = 900;

  /// A new file; empty where there is none to be had.
  static std::string create();
  static void remove(const std::string& path);
  /// Where the files are.
  static std::string folder();

  /// Maps the file and takes the rank's place. Null, and the error told: no such file, another size of the world, or
  /// the place is taken. `as`: joined, or failed for a rank that gives up at once.
  static std::shared_ptr<segment> join(const std::string& path, int size, int rank, int device, ncclResult_t& error,
                                       presence as = presence::joined);
  segment(const segment&) = delete;
  segment& operator=(const segment&) = delete;
  ~segment();

  int size() const { return size_; }
  rank_slot& slot(int rank) const;
  std::byte* stage(int rank, std::uint64_t step) const;
  channel& between(int from, int to) const;

  /// The rank's place ends so, if it has not ended already, and the others learn it.
  void end(int rank, presence how);

  /// Wakes all that wait.
  void ring();
  std::uint32_t bell() const;
  /// Waits until the bell is not `seen`, or for a short while.
  void wait(std::uint32_t seen) const;

  /// True where the rank's process is gone, or it has left.
  bool gone(int rank) const;

  /// The first misuse that is found ends the communicator on all ranks: true for the one who may say it, who has to.
  bool claim_poison();
  void poison(ncclResult_t result, const char* text);
  ncclResult_t poisoned() const;
  const char* poison_text() const;

 private:
  segment() = default;
  struct first_page;
  first_page* page_ = nullptr;
  std::size_t bytes_ = 0;
  int size_ = 0;
};

/// A hash of NCCL_HOSTID, else of the host's name; taken once in a process, as in NCCL.
std::uint64_t host_hash();
std::uint64_t hash_of(const char* text, std::size_t capacity);

}  // namespace fake
