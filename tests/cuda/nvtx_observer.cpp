// SPDX-License-Identifier: Apache-2.0
// A tool that listens to NVTX, linked in, as NVTX allows: its headers look for this pointer.
#include "shardwise/cuda/nvtx_observer.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/comm/in_process.hpp"

namespace sw = shardwise;

namespace {

struct heard {
  std::string text;
  std::uint64_t payload = 0;
  bool operator==(const heard&) const = default;
};
std::string domain_name;
int domains_destroyed = 0;
std::vector<heard> open_ranges, closed_ranges;
int pops_without_push = 0;
nvtxDomainHandle_t const the_domain = reinterpret_cast<nvtxDomainHandle_t>(&domain_name);

extern "C" {
nvtxDomainHandle_t on_create(const char* name) {
  domain_name = name;
  return the_domain;
}
void on_destroy(nvtxDomainHandle_t) { ++domains_destroyed; }
int on_push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* e) {
  if (domain != the_domain || e->messageType != NVTX_MESSAGE_TYPE_ASCII) return -1;
  open_ranges.push_back({e->message.ascii, e->payload.ullValue});
  return 0;
}
int on_pop(nvtxDomainHandle_t) {
  if (open_ranges.empty()) {
    ++pops_without_push;
    return -1;
  }
  closed_ranges.push_back(open_ranges.back());
  open_ranges.pop_back();
  return 0;
}

int listen(NvtxGetExportTableFunc_t tables) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(tables(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr || callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0) return 0;
  *table[NVTX_CBID_CORE2_DomainCreateA] = reinterpret_cast<NvtxFunctionPointer>(on_create);
  *table[NVTX_CBID_CORE2_DomainDestroy] = reinterpret_cast<NvtxFunctionPointer>(on_destroy);
  *table[NVTX_CBID_CORE2_DomainRangePushEx] = reinterpret_cast<NvtxFunctionPointer>(on_push);
  *table[NVTX_CBID_CORE2_DomainRangePop] = reinterpret_cast<NvtxFunctionPointer>(on_pop);
  return 1;
}
}

// Before main, that is before the first NVTX call.
const bool listening = (InitializeInjectionNvtx2_fnptr = listen) != nullptr;

}  // namespace

TEST_CASE("each collective is an NVTX range with its operation, its module and its bytes") {
  REQUIRE(listening);
  {
    sw::cuda::nvtx_observer ranges;
    sw::in_process(1, [&](sw::in_process_communicator& ranks) {
      sw::observed comm(ranks, ranges);
      float x[6] = {};
      comm.in_module("model.layers.3.mlp.down_proj");
      comm.all_reduce(x, x, 6, sw::dtype::f32, sw::reduction::sum, {});
      comm.in_module("");
      comm.barrier({});
      // A call that throws closes its range.
      const std::string longer(300, 'm');
      comm.in_module(longer);
      CHECK_THROWS_AS(comm.broadcast(x, 1, sw::dtype::f32, 7, {}), sw::comm_error);
    });
    CHECK(domains_destroyed == 0);
  }
  CHECK(domains_destroyed == 1);
  CHECK(domain_name == "shardwise");
  CHECK(open_ranges.empty());
  CHECK(pops_without_push == 0);
  REQUIRE(closed_ranges.size() == 3);
  CHECK(closed_ranges[0] == heard{"all_reduce model.layers.3.mlp.down_proj", 24});
  CHECK(closed_ranges[1] == heard{"barrier", 0});
  CHECK(closed_ranges[2].text == "broadcast " + std::string(245, 'm'));
}
