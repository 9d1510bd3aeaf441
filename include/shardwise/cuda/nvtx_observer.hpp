// SPDX-License-Identifier: Apache-2.0
// Collectives as NVTX ranges, for Nsight Systems and whatever else reads them.
#pragma once
#if !__has_include(<nvtx3/nvToolsExt.h>)
#error "shardwise/cuda/nvtx_observer.hpp needs nvtx3/nvToolsExt.h: install NVTX 3, which the CUDA toolkit holds"
#endif
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "shardwise/comm/observer.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// Pushes a range "all_reduce model.layers.3.mlp.down_proj", whose payload is the number of bytes, before each
/// collective, and pops it after: the time in which the host puts it on the stream. Its domain is "shardwise".
///
/// A `collective_observer` for any number of threads, each of which has ranges of its own. Allocates nothing, and costs
/// a text of up to 255 bytes where no tool listens.
class nvtx_observer {
 public:
  nvtx_observer() : domain_(nvtxDomainCreateA("shardwise")) {}
  nvtx_observer(const nvtx_observer&) = delete;
  ~nvtx_observer() { nvtxDomainDestroy(domain_); }

  void begin(const collective_event& e) noexcept {
    char text[256];
    std::size_t size = 0;
    const auto append = [&](std::string_view part) {
      const std::size_t n = std::min(part.size(), sizeof text - 1 - size);
      std::copy_n(part.data(), n, text + size);
      size += n;
    };
    append(name_of(e.op));
    if (!e.module.empty()) {
      append(" ");
      append(e.module);
    }
    text[size] = '\0';
    nvtxEventAttributes_t range{};
    range.version = NVTX_VERSION;
    range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    range.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
    range.payload.ullValue = e.bytes;
    range.messageType = NVTX_MESSAGE_TYPE_ASCII;
    range.message.ascii = text;
    nvtxDomainRangePushEx(domain_, &range);
  }
  void end(const collective_event&) noexcept { nvtxDomainRangePop(domain_); }
  void failed(const collective_event&) noexcept { nvtxDomainRangePop(domain_); }

 private:
  nvtxDomainHandle_t domain_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
