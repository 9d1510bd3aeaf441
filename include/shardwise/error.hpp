// SPDX-License-Identifier: Apache-2.0
// Every error that shardwise reports: a type to catch, a sentence to read, and the one function that throws.
#pragma once
#include <cstddef>
#include <exception>
#include <string_view>
#include <type_traits>

#if !defined(__cpp_exceptions)
#include <cstdio>
#include <cstdlib>
#endif

namespace shardwise {
inline namespace v0 {

/// The base of all errors. The sentence says what, where and the way out; it is kept in the object, so that building
/// and copying an error allocates nothing. A text that does not fit ends in "...".
class error : public std::exception {
 public:
  static constexpr std::size_t capacity = 2000;

  /// Joins `parts`: strings, characters, and integers written in decimal.
  template <class... Parts>
  requires(sizeof...(Parts) != 1 || !(std::is_base_of_v<error, Parts> || ...)) explicit error(const Parts&... parts) {
    (append(parts), ...);
  }

  const char* what() const noexcept override { return text_; }
  std::string_view text() const noexcept { return {text_, size_}; }

  /// Adds to the end of the sentence.
  template <class Part>
  void append(const Part& part) {
    if constexpr (std::is_same_v<Part, char>) {
      append_text({&part, 1});
    } else if constexpr (std::is_integral_v<Part>) {
      bool negative = false;
      if constexpr (std::is_signed_v<Part>) negative = part < 0;
      append_number(negative, static_cast<unsigned long long>(part));
    } else {
      append_text(part);
    }
  }

 private:
  void append_text(std::string_view part) {
    for (char c : part) {
      if (size_ + 1 == capacity) {
        for (std::size_t i = 1; i <= 3; ++i) text_[size_ - i] = '.';
        return;
      }
      text_[size_++] = c;
      text_[size_] = '\0';
    }
  }
  void append_number(bool negative, unsigned long long magnitude) {
    char digits[24];
    std::size_t n = sizeof digits;
    if (negative) magnitude = 0ULL - magnitude;  // in unsigned arithmetic: the smallest number has no positive twin
    do {
      digits[--n] = static_cast<char>('0' + magnitude % 10);
      magnitude /= 10;
    } while (magnitude != 0);
    if (negative) digits[--n] = '-';
    append_text({digits + n, sizeof digits - n});
  }

  char text_[capacity] = "";
  std::size_t size_ = 0;
};

/// A plan that cannot be meant: a malformed pattern, one pattern with two styles, a rule that matches nothing, a tie,
/// an unknown style.
class plan_error : public error {
 public:
  using error::error;
};

/// A plan that does not fit this model at this number of ranks: a head cut in two, a size that does not divide, a
/// parameter that no rule covers.
class shard_error : public error {
 public:
  using error::error;
};

/// A value that is not placed over the ranks as the step needs it: a partial sum fed to a nonlinearity, a whole input
/// to `rowwise`.
class placement_error : public error {
 public:
  using error::error;
};

/// Logits of which no answer can be given: a NaN among them, or nothing but -inf. Or a policy without an answer: the
/// best 0, an id outside of the vocabulary. Every rank throws the same one.
class logits_error : public error {
 public:
  using error::error;
};

/// A checkpoint that cannot be read, or does not hold what the model needs. Nothing was changed.
class checkpoint_error : public error {
 public:
  using error::error;
};

/// A collective that did not happen: a rank died, left, never came, or asked for another operation.
class comm_error : public error {
 public:
  using error::error;
};

namespace detail {
/// Everything that core throws is thrown here. Without exceptions the sentence goes to stderr and the process ends.
template <class Error>
[[noreturn]] void raise(const Error& e) {
#if defined(__cpp_exceptions)
  throw e;
#else
  std::fprintf(stderr, "shardwise: %s\n", e.what());
  std::abort();
#endif
}
}  // namespace detail

}  // namespace v0
}  // namespace shardwise
