// SPDX-License-Identifier: Apache-2.0
#include "fake/counters.hpp"

#include "fake/fake_gpu.hpp"

namespace fake {

constinit counters all_counts;

}  // namespace fake

namespace fake_gpu {

std::uint64_t calls(std::string_view function) {
  const auto f = fake::function_named(function);
  return f ? fake::counts().calls[static_cast<std::size_t>(*f)].load() : 0;
}

operation_count operations(std::string_view function) {
  const auto f = fake::function_named(function);
  if (!f) return {};
  const auto i = static_cast<std::size_t>(*f);
  return {fake::counts().operations[i].load(), fake::counts().bytes[i].load()};
}

totals counted() {
  const auto& c = fake::counts();
  totals t;
  t.groups = c.groups;
  t.launches = c.launches;
  t.largest_group = c.largest_group;
  t.device_allocations = c.device_allocations;
  t.pinned_allocations = c.pinned_allocations;
  t.synchronisations = c.synchronisations;
  t.pageable_copies = c.pageable_copies;
  t.other_device_current = c.other_device_current;
  t.findings = c.findings;
  return t;
}

void reset_counts() {
  auto& c = fake::counts();
  for (auto* list : {&c.calls, &c.operations, &c.bytes}) {
    for (auto& number : *list) number = 0;
  }
  for (auto* number : {&c.groups, &c.launches, &c.largest_group, &c.device_allocations, &c.pinned_allocations,
                       &c.synchronisations, &c.pageable_copies, &c.other_device_current, &c.findings}) {
    *number = 0;
  }
}

live_objects live() {
  const auto& c = fake::counts();
  live_objects now;
  now.communicators = c.communicators;
  now.streams = c.streams;
  now.events = c.events;
  now.graphs = c.graphs;
  now.device_blocks = c.device_blocks;
  now.pinned_blocks = c.pinned_blocks;
  now.segments = c.segments;
  return now;
}

}  // namespace fake_gpu
