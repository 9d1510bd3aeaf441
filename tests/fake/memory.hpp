// SPDX-License-Identifier: Apache-2.0
// Which ranges of host memory are a device's, and which are pinned.
#pragma once
#include <cstddef>
#include <optional>

namespace fake {

struct block {
  const std::byte* base = nullptr;
  std::size_t size = 0;
  int device = 0;  // pinned: the device that was current
  bool pinned = false;
  bool registered = false;  // the caller's memory, by cudaHostRegister

  // Bytes from `at` to the end.
  std::size_t rest(const void* at) const {
    return size - static_cast<std::size_t>(static_cast<const std::byte*>(at) - base);
  }
};

/// The block that `at` lies in.
std::optional<block> find_block(const void* at);

/// Adds a new block; null where there is no memory.
void* allocate_block(std::size_t size, int device, bool pinned);
/// Takes a block out and gives the memory back; false where `base` begins none of this kind.
bool free_block(void* base, bool pinned);

}  // namespace fake
