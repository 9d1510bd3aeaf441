// SPDX-License-Identifier: Apache-2.0
// Which communicator a module's step runs on: the rank's. In a test build (GENERATE_FAULTS) the steps of one style can
// be made to run without their collective, so that tests see that each collective matters.
#pragma once
#include "shardwise/comm/any_communicator.hpp"
#include "shardwise/shard/step.hpp"

#ifdef GENERATE_FAULTS
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#endif

namespace generate {
namespace sw = shardwise;

#ifndef GENERATE_FAULTS

class step_communicator {
 public:
  step_communicator(sw::any_communicator& comm, const sw::step&) : comm_(&comm) {}
  sw::any_communicator& get() const { return *comm_; }

 private:
  sw::any_communicator* comm_;
};

#else

/// Collectives that leave out the other ranks: what is there already stays, and what they would send is zero.
class alone {
 public:
  using stream_type = sw::host_stream;
  alone(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const { return rank_; }
  int size() const { return size_; }
  void barrier(stream_type) {}
  void all_reduce(const void* send, void* recv, std::size_t count, sw::dtype type, sw::reduction, stream_type) {
    if (send != recv && count != 0) std::memcpy(recv, send, count * sw::size_of(type));
  }
  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, sw::dtype type, stream_type) {
    std::size_t before = 0;
    const auto mine = static_cast<std::size_t>(rank_);
    for (std::size_t r = 0; r < mine; ++r) before += columns[r];
    for (std::size_t i = 0; i < rows && columns[mine] != 0; ++i) {
      std::memcpy(static_cast<std::byte*>(recv) + (i * recv_stride + before) * sw::size_of(type),
                  static_cast<const std::byte*>(send) + i * send_stride * sw::size_of(type),
                  columns[mine] * sw::size_of(type));
    }
  }
  void all_gather(const void* send, void* recv, std::size_t count, sw::dtype type, stream_type) {
    const std::size_t bytes = count * sw::size_of(type);
    std::memcpy(static_cast<std::byte*>(recv) + static_cast<std::size_t>(rank_) * bytes, send, bytes);
  }
  void reduce_scatter(const void* send, void* recv, std::size_t count, sw::dtype type, sw::reduction, stream_type) {
    const std::size_t bytes = count * sw::size_of(type);
    std::memcpy(recv, static_cast<const std::byte*>(send) + static_cast<std::size_t>(rank_) * bytes, bytes);
  }
  // No style's step uses these.
  void broadcast(void*, std::size_t, sw::dtype, int, stream_type) {}
  void all_to_all(const void*, std::span<const std::size_t>, void*, std::span<const std::size_t>, sw::dtype,
                  stream_type) {}
  alone split(int, int) const { return *this; }

 private:
  int rank_, size_;
};

/// GENERATE_LEAVE_OUT names the style whose steps run alone.
class step_communicator {
 public:
  step_communicator(sw::any_communicator& comm, const sw::step& step) : comm_(&comm) {
    const char* style = std::getenv("GENERATE_LEAVE_OUT");
    if (style == nullptr || step.how.name() != std::string_view(style)) return;
    alone_ = std::make_shared<alone>(comm.rank(), comm.size());
    instead_ = std::make_shared<sw::any_communicator>(*alone_);
  }
  sw::any_communicator& get() const { return instead_ ? *instead_ : *comm_; }

 private:
  sw::any_communicator* comm_;
  std::shared_ptr<alone> alone_;
  std::shared_ptr<sw::any_communicator> instead_;
};

#endif

}  // namespace generate
