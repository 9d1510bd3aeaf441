// SPDX-License-Identifier: Apache-2.0
// Which collective of which communicator an error speaks of.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/comm/operation.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// One collective of one communicator.
struct collective_place {
  operation op = operation::barrier;
  std::size_t number = 0;    ///< from 1; 0: none yet
  std::string_view of = {};  ///< " of the split {0, 2}", or nothing for the communicator of all ranks

  /// "barrier (collective 3)"
  void words_of(comm_error& text) const {
    text.append(name_of(op));
    number_of(text);
  }
  /// " (collective 3)"
  void number_of(comm_error& text) const {
    text.append(" (collective ");
    text.append(number);
    text.append(of);
    text.append(")");
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
