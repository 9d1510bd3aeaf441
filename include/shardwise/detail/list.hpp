// SPDX-License-Identifier: Apache-2.0
// What plan, model, match and shard need of containers at run time, without a container header: std::vector and
// std::string alone cost a translation unit three times what all of these four together may cost.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A growing array of plain values.
template <class T>
class list {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  list() = default;
  list(list&& o) noexcept : data_(o.data_), size_(o.size_), capacity_(o.capacity_) { o.forget(); }
  list& operator=(list&& o) noexcept {
    if (this != &o) {
      delete[] data_;
      data_ = o.data_;
      size_ = o.size_;
      capacity_ = o.capacity_;
      o.forget();
    }
    return *this;
  }
  ~list() { delete[] data_; }

  void push(const T& value) {
    const T kept = value;  // `value` may lie in the array that is about to move
    if (size_ == capacity_) reserve(capacity_ == 0 ? 16 : 2 * capacity_);
    data_[size_++] = kept;
  }
  void resize(std::size_t n) {
    reserve(n);
    for (std::size_t i = size_; i < n; ++i) data_[i] = T{};
    size_ = n;
  }
  void reserve(std::size_t n) {
    if (n <= capacity_) return;
    T* grown = new T[n];
    for (std::size_t i = 0; i < size_; ++i) grown[i] = data_[i];
    delete[] data_;
    data_ = grown;
    capacity_ = n;
  }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  void forget() {
    data_ = nullptr;
    size_ = capacity_ = 0;
  }
  T* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

/// Keeps copies of texts at addresses that do not move.
class text_store {
 public:
  text_store() = default;
  text_store(text_store&& o) noexcept : last_(o.last_) { o.last_ = nullptr; }
  text_store& operator=(text_store&& o) noexcept {
    chunk* mine = last_;
    last_ = o.last_;
    o.last_ = mine;
    return *this;
  }
  ~text_store() {
    while (last_ != nullptr) {
      chunk* before = last_->before;
      delete[] last_->bytes;
      delete last_;
      last_ = before;
    }
  }

  std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    if (last_ == nullptr || last_->capacity - last_->used < text.size()) {
      const std::size_t capacity = text.size() > 16384 ? text.size() : 16384;
      last_ = new chunk{last_, new char[capacity], 0, capacity};
    }
    char* copy = last_->bytes + last_->used;
    __builtin_memcpy(copy, text.data(), text.size());
    last_->used += text.size();
    return {copy, text.size()};
  }

 private:
  struct chunk {
    chunk* before;
    char* bytes;
    std::size_t used, capacity;
  };
  chunk* last_ = nullptr;
};

/// Name to number, by hashing with open addressing. The names are kept by somebody else.
class name_index {
 public:
  static constexpr std::size_t npos = ~std::size_t{};

  std::size_t find(std::string_view name) const {
    if (slots_.empty()) return npos;
    const slot& s = slots_[place_of(name, hash_of(name))];
    return s.hash != 0 ? s.value : npos;
  }
  /// Adds `name`, unless it is there already: then nothing changes and the answer is false.
  bool add(std::string_view name, std::size_t value) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    const std::uint64_t hash = hash_of(name);
    slot& s = slots_[place_of(name, hash)];
    if (s.hash != 0) return false;
    s = {name, value, hash};
    ++count_;
    return true;
  }

 private:
  struct slot {
    std::string_view name;
    std::size_t value = 0;
    std::uint64_t hash = 0;  // 0: nothing is here
  };
  // Eight bytes at a time: a hundred thousand names are hashed several times before a model is checked.
  static std::uint64_t hash_of(std::string_view name) {
    std::uint64_t h = name.size() * 0x9e3779b97f4a7c15ULL;
    const auto mix = [&h](std::uint64_t word) {
      h = (h ^ word) * 0xff51afd7ed558ccdULL;
      h ^= h >> 32;
    };
    const char* s = name.data();
    std::size_t n = name.size();
    for (; n >= 8; s += 8, n -= 8) {
      std::uint64_t word;
      __builtin_memcpy(&word, s, 8);
      mix(word);
    }
    std::uint64_t rest = 0;
    for (std::size_t i = 0; i < n; ++i) rest |= std::uint64_t{static_cast<unsigned char>(s[i])} << (8 * i);
    mix(rest);
    return h | std::uint64_t{1} << 63;
  }
  std::size_t place_of(std::string_view name, std::uint64_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash) & mask;
    while (slots_[at].hash != 0 && (slots_[at].hash != hash || slots_[at].name != name)) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    list<slot> old = static_cast<list<slot>&&>(slots_);
    slots_ = list<slot>{};
    slots_.resize(old.empty() ? 32 : 2 * old.size());
    for (const slot& s : old) {
      if (s.hash != 0) slots_[place_of(s.name, s.hash)] = s;
    }
  }
  list<slot> slots_;
  std::size_t count_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
