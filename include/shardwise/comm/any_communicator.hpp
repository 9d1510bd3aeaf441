// SPDX-License-Identifier: Apache-2.0
// One type for any communicator, so that an engine need not be a template.
#pragma once
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "shardwise/comm/communicator.hpp"

namespace shardwise {
inline namespace v0 {

/// The stream of an `any_communicator`: a handle such as CUDA's, which is a pointer, or `host_stream`, which is
/// nothing.
class any_stream {
 public:
  constexpr any_stream() = default;
  constexpr any_stream(host_stream) {}
  constexpr any_stream(void* handle) : handle_(handle) {}

  constexpr void* handle() const { return handle_; }

  /// As the stream of a communicator.
  template <class Stream>
  Stream as() const {
    if constexpr (std::same_as<Stream, any_stream>) {
      return *this;
    } else if constexpr (std::is_pointer_v<Stream>) {
      return static_cast<Stream>(handle_);
    } else {
      static_assert(std::is_empty_v<Stream>, "shardwise: any_stream holds a pointer, or a stream that is empty");
      return Stream{};
    }
  }

 private:
  void* handle_ = nullptr;
};

namespace detail {
// The capabilities, virtual; and what has them all.
class erased_communicator {
 public:
  virtual ~erased_communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void barrier(any_stream) = 0;
  virtual void all_reduce(const void*, void*, std::size_t, dtype, reduction, any_stream) = 0;
  virtual void all_gather(const void*, void*, std::size_t, dtype, any_stream) = 0;
  virtual void gather_last_dim(const void*, std::size_t, void*, std::size_t, std::size_t, std::span<const std::size_t>,
                               dtype, any_stream) = 0;
  virtual void reduce_scatter(const void*, void*, std::size_t, dtype, reduction, any_stream) = 0;
  virtual void broadcast(void*, std::size_t, dtype, int, any_stream) = 0;
  virtual void all_to_all(const void*, std::span<const std::size_t>, void*, std::span<const std::size_t>, dtype,
                          any_stream) = 0;
  virtual std::shared_ptr<erased_communicator> split(int, int) = 0;
  virtual void in_module(std::string_view) = 0;

  const bool takes_module;  // so that a module is said only to who listens

 protected:
  explicit erased_communicator(bool takes) : takes_module(takes) {}
};

// `Held` is `C&` or `C`.
template <class Held>
class erased_model final : public erased_communicator {
  using type = std::remove_reference_t<Held>;
  using stream = typename type::stream_type;

 public:
  explicit erased_model(Held held)
      : erased_communicator(shardwise::takes_module<type>), held_(static_cast<Held&&>(held)) {}
  int rank() const override { return held_.rank(); }
  int size() const override { return held_.size(); }
  void barrier(any_stream s) override { held_.barrier(s.as<stream>()); }
  void all_reduce(const void* send, void* recv, std::size_t count, dtype t, reduction op, any_stream s) override {
    held_.all_reduce(send, recv, count, t, op, s.as<stream>());
  }
  void all_gather(const void* send, void* recv, std::size_t count, dtype t, any_stream s) override {
    held_.all_gather(send, recv, count, t, s.as<stream>());
  }
  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype t, any_stream s) override {
    held_.gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, t, s.as<stream>());
  }
  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype t, reduction op, any_stream s) override {
    held_.reduce_scatter(send, recv, count, t, op, s.as<stream>());
  }
  void broadcast(void* data, std::size_t count, dtype t, int root, any_stream s) override {
    held_.broadcast(data, count, t, root, s.as<stream>());
  }
  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype t, any_stream s) override {
    held_.all_to_all(send, send_counts, recv, recv_counts, t, s.as<stream>());
  }
  std::shared_ptr<erased_communicator> split(int color, int key) override {
    auto part = held_.split(color, key);
    return std::make_shared<erased_model<decltype(part)>>(std::move(part));
  }
  void in_module([[maybe_unused]] std::string_view module) override {
    if constexpr (shardwise::takes_module<type>) held_.in_module(module);
  }

 private:
  Held held_;
};
}  // namespace detail

/// Any `full_communicator` behind one type. Made from a communicator it refers to it, and the caller keeps that alive;
/// what `split` returns owns the new communicator. Copies are the same communicator. Meaning and errors are those of
/// what it stands for.
class any_communicator {
 public:
  using stream_type = any_stream;

  template <class C>
  requires(!std::same_as<C, any_communicator> && !std::is_const_v<C> && full_communicator<C>) any_communicator(C& comm)
      : held_(std::make_shared<detail::erased_model<C&>>(comm)) {}

  int rank() const { return held_->rank(); }
  int size() const { return held_->size(); }
  void barrier(any_stream stream = {}) { held_->barrier(stream); }
  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, any_stream stream = {}) {
    held_->all_reduce(send, recv, count, type, op, stream);
  }
  void all_gather(const void* send, void* recv, std::size_t count, dtype type, any_stream stream = {}) {
    held_->all_gather(send, recv, count, type, stream);
  }
  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type, any_stream stream = {}) {
    held_->gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, stream);
  }
  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                      any_stream stream = {}) {
    held_->reduce_scatter(send, recv, count, type, op, stream);
  }
  void broadcast(void* data, std::size_t count, dtype type, int root, any_stream stream = {}) {
    held_->broadcast(data, count, type, root, stream);
  }
  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, any_stream stream = {}) {
    held_->all_to_all(send, send_counts, recv, recv_counts, type, stream);
  }
  any_communicator split(int color, int key) { return any_communicator(held_->split(color, key)); }
  void in_module(std::string_view module) {
    if (held_->takes_module) held_->in_module(module);
  }

 private:
  explicit any_communicator(std::shared_ptr<detail::erased_communicator> held) : held_(std::move(held)) {}

  std::shared_ptr<detail::erased_communicator> held_;
};

}  // namespace v0
}  // namespace shardwise
