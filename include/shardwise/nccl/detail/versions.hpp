// SPDX-License-Identifier: Apache-2.0
// Which NCCL was compiled against, and which one runs.
#pragma once
#include "shardwise/nccl/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

/// The version of the library that runs; 0 where it does not say.
inline int runtime_version() noexcept {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

/// "2.28.9"
inline void append_version(shardwise::error& text, int version) {
  const int major = version / 10000, minor = version / 100 % 100;
  const bool old = version < 10000;  // up to 2.8 the code had a digit less
  text.append(old ? version / 1000 : major);
  text.append('.');
  text.append(old ? version / 100 % 10 : minor);
  text.append('.');
  text.append(version % 100);
}

inline void append_versions(shardwise::error& text) {
  const int runs = runtime_version();
  text.append("NCCL ");
  append_version(text, runs);
  if (runs == NCCL_VERSION_CODE) return;
  text.append(" (compiled against ");
  append_version(text, NCCL_VERSION_CODE);
  text.append(')');
}

inline constexpr int oldest_version = NCCL_VERSION(2, 20, 5);

/// Refuses a library that lacks what is called here.
inline void require_version(int runs) {
  if (runs >= oldest_version) return;
  error text(fault::refused, ncclInvalidUsage, "NCCL ");
  append_version(text, runs);
  text.append(" runs, and shardwise needs 2.20.5 or newer; it was compiled against ");
  append_version(text, NCCL_VERSION_CODE);
  text.append(": see which libnccl.so.2 the loader finds first");
  shardwise::detail::raise(text);
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
