// SPDX-License-Identifier: Apache-2.0
// Watching a communicator: what it was asked for, by which module, and when each call began and ended.
#pragma once
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/forwarding.hpp"
#include "shardwise/comm/operation.hpp"

namespace shardwise {
inline namespace v0 {

/// One call of a communicator. A plain value; `module` lives as long as the call.
struct collective_event {
  operation op;
  std::string_view module;  ///< the module whose output it makes, as `in_module` said; "" where nobody said one
  std::size_t bytes;        ///< of the whole result on one rank: see `forwarding_communicator`
  int rank;                 ///< in the communicator that was called
};

/// `begin(e)` before a call, `end(e)` after one that returned; on a stream that is when it was put there, not when it
/// is done. Called on the thread that makes the call.
///
/// A call that throws is not ended. An observer that has to know of it, as one that closes what it opened, has
/// `failed(e)` too: that is called in place of `end`.
template <class O>
concept collective_observer = requires(O& o, const collective_event& e) {
  o.begin(e);
  o.end(e);
};

namespace detail {

/// Tells an observer of each call.
template <class O>
class observing {
  static constexpr bool hears_of_failures = requires(O & o, const collective_event& e) { o.failed(e); };

  // Between `begin` and `end`.
  struct open_event {
    O& observer;
    const collective_event& event;
    bool open = true;
    void end() {
      open = false;
      observer.end(event);
    }
    ~open_event() {
      if constexpr (hears_of_failures) {
        if (open) observer.failed(event);
      }
    }
  };

 public:
  explicit observing(O& observer) : observer_(&observer) {}

  template <class Bytes, class Call>
  auto operator()(operation op, int rank, const Bytes& bytes, const Call& call) {
    const collective_event e{op, module, bytes(), rank};
    observer_->begin(e);
    open_event during{*observer_, e};
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      during.end();
    } else {
      auto result = call();
      during.end();
      return result;
    }
  }
  O& observer() const { return *observer_; }

  std::string_view module;

 private:
  O* observer_;
};

}  // namespace detail

/// `observed(comm, observer)` is `comm`, and tells `observer` of each call. The caller keeps both alive. A split of it
/// tells the same observer; it is said anew there which module is at work. Allocates nothing.
/// Of one rank, like `comm`; an observer that several ranks share must be for several threads.
template <class Base, collective_observer O>
class observed : public forwarding_communicator<Base, detail::observing<O>> {
  using forward = forwarding_communicator<Base, detail::observing<O>>;

 public:
  using base_type = typename forward::base_type;

  observed(Base comm, O& observer) : forward(static_cast<Base&&>(comm), detail::observing<O>(observer)) {}

  /// The next collectives are of this module. The text must live until another is said.
  void in_module(std::string_view module) {
    this->around_.module = module;
    if constexpr (takes_module<base_type>) forward::in_module(module);
  }

  auto split(int color, int key) requires can_split<base_type> {
    auto part = forward::split(color, key);
    return observed<decltype(part), O>(std::move(part), this->around_.observer());
  }
};
template <communicator C, collective_observer O>
observed(C& comm, O& observer) -> observed<C&, O>;

}  // namespace v0
}  // namespace shardwise
