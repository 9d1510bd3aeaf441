// SPDX-License-Identifier: Apache-2.0
// One type for every communicator, so that an engine is compiled once.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "shardwise/comm/communicator.hpp"

namespace shardwise {
inline namespace v0 {

/// Any stream that is a pointer (a CUDA stream) or empty (the host's), as one value.
class any_stream {
 public:
  constexpr any_stream() = default;
  constexpr any_stream(host_stream) {}
  constexpr any_stream(void* stream) : stream_(stream) {}

  template <class Stream>
  constexpr Stream as() const {
    if constexpr (std::is_pointer_v<Stream>) {
      return static_cast<Stream>(stream_);
    } else {
      static_assert(std::is_empty_v<Stream>, "shardwise: any_stream holds a pointer, or a stream without state");
      return Stream{};
    }
  }

 private:
  void* stream_ = nullptr;
};

/// A full communicator whose kind is known at run time. Made of a reference, it does not own: the communicator outlives
/// it. What `split` returns owns its group. Not copied: a communicator has one user, the thread of its rank.
class any_communicator {
 public:
  using stream_type = any_stream;

  template <full_communicator Comm>
  requires(!std::same_as<Comm, any_communicator>) explicit any_communicator(Comm& comm)
      : self_(std::make_unique<model<Comm&>>(comm)) {}

  int rank() const { return self_->rank(); }
  int size() const { return self_->size(); }
  void barrier(any_stream stream) { self_->barrier(stream); }
  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, any_stream stream) {
    self_->all_reduce(send, recv, count, type, op, stream);
  }
  void all_gather(const void* send, void* recv, std::size_t count, dtype type, any_stream stream) {
    self_->all_gather(send, recv, count, type, stream);
  }
  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type, any_stream stream) {
    self_->gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, stream);
  }
  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op, any_stream stream) {
    self_->reduce_scatter(send, recv, count, type, op, stream);
  }
  void broadcast(void* data, std::size_t count, dtype type, int root, any_stream stream) {
    self_->broadcast(data, count, type, root, stream);
  }
  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, any_stream stream) {
    self_->all_to_all(send, send_counts, recv, recv_counts, type, stream);
  }
  any_communicator split(int color, int key) { return any_communicator(self_->split(color, key)); }

 private:
  using counts = std::span<const std::size_t>;
  struct interface {
    virtual ~interface() = default;
    virtual int rank() const = 0;
    virtual int size() const = 0;
    virtual void barrier(any_stream) = 0;
    virtual void all_reduce(const void*, void*, std::size_t, dtype, reduction, any_stream) = 0;
    virtual void all_gather(const void*, void*, std::size_t, dtype, any_stream) = 0;
    virtual void gather_last_dim(const void*, std::size_t, void*, std::size_t, std::size_t, counts, dtype,
                                 any_stream) = 0;
    virtual void reduce_scatter(const void*, void*, std::size_t, dtype, reduction, any_stream) = 0;
    virtual void broadcast(void*, std::size_t, dtype, int, any_stream) = 0;
    virtual void all_to_all(const void*, counts, void*, counts, dtype, any_stream) = 0;
    virtual std::unique_ptr<interface> split(int, int) = 0;
  };

  // `Held` is a reference to a communicator, or a communicator.
  template <class Held>
  struct model final : interface {
    using comm_type = std::remove_reference_t<Held>;
    using stream = typename comm_type::stream_type;
    Held comm;
    explicit model(Held c) : comm(std::forward<Held>(c)) {}

    int rank() const override { return comm.rank(); }
    int size() const override { return comm.size(); }
    void barrier(any_stream s) override { comm.barrier(s.as<stream>()); }
    void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, any_stream s) override {
      comm.all_reduce(send, recv, count, type, op, s.as<stream>());
    }
    void all_gather(const void* send, void* recv, std::size_t count, dtype type, any_stream s) override {
      comm.all_gather(send, recv, count, type, s.as<stream>());
    }
    void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride,
                         std::size_t rows, counts columns, dtype type, any_stream s) override {
      comm.gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, s.as<stream>());
    }
    void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                        any_stream s) override {
      comm.reduce_scatter(send, recv, count, type, op, s.as<stream>());
    }
    void broadcast(void* data, std::size_t count, dtype type, int root, any_stream s) override {
      comm.broadcast(data, count, type, root, s.as<stream>());
    }
    void all_to_all(const void* send, counts send_counts, void* recv, counts recv_counts, dtype type,
                    any_stream s) override {
      comm.all_to_all(send, send_counts, recv, recv_counts, type, s.as<stream>());
    }
    std::unique_ptr<interface> split(int color, int key) override {
      using part = decltype(comm.split(color, key));
      return std::make_unique<model<part>>(comm.split(color, key));
    }
  };

  explicit any_communicator(std::unique_ptr<interface> self) : self_(std::move(self)) {}
  std::unique_ptr<interface> self_;
};

}  // namespace v0
}  // namespace shardwise
