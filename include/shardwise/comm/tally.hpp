// SPDX-License-Identifier: Apache-2.0
// What a communicator did: calls and bytes per operation.
#pragma once
#include <cstddef>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/observer.hpp"
#include "shardwise/comm/operation.hpp"

namespace shardwise {
inline namespace v0 {

/// An observer that counts: calls that succeeded, and their bytes. Of one rank; not for several threads.
class tally {
 public:
  struct entry {
    std::size_t calls = 0, bytes = 0;
    friend bool operator==(const entry&, const entry&) = default;
  };

  const entry& operator[](operation op) const { return entries_[static_cast<std::size_t>(op)]; }
  entry total() const {
    entry sum;
    for (const entry& e : entries_) {
      sum.calls += e.calls;
      sum.bytes += e.bytes;
    }
    return sum;
  }
  void begin(const collective_event&) {}
  void end(const collective_event& done) {
    entry& e = entries_[static_cast<std::size_t>(done.op)];
    ++e.calls;
    e.bytes += done.bytes;
  }
  void reset() { *this = tally(); }

 private:
  entry entries_[operation_count];
};

/// `counted(comm, t)` is `comm`, and adds to `t` what it does: `observed` with a tally. The caller keeps both alive. A
/// split of it adds to `t` too.
template <class Base>
class counted : public observed<Base, tally> {
 public:
  using observed<Base, tally>::observed;
};
template <communicator C>
counted(C& comm, tally& t) -> counted<C&>;

}  // namespace v0
}  // namespace shardwise
