// SPDX-License-Identifier: Apache-2.0
// Reductions: two ranks' elements after each other in rank order, each result rounded to the type, as a ring does.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstring>
#include <type_traits>

#include "fake/operation.hpp"

namespace fake {
namespace {

template <class T>
struct plain {
  using stored = T;
  using computed = T;
  static T load(T x) { return x; }
  static T store(T x) { return x; }
};
struct half {
  using stored = __half;
  using computed = float;
  static float load(__half x) { return __half2float(x); }
  static __half store(float x) { return __float2half_rn(x); }
};
struct brain {
  using stored = __nv_bfloat16;
  using computed = float;
  static float load(__nv_bfloat16 x) { return __bfloat162float(x); }
  static __nv_bfloat16 store(float x) { return __float2bfloat16(x); }
};

template <class T>
T combine(ncclRedOp_t op, T a, T b) {
  if constexpr (std::is_integral_v<T>) {  // integers wrap around
    using bits = std::make_unsigned_t<T>;
    const auto x = static_cast<unsigned long long>(static_cast<bits>(a));
    const auto y = static_cast<unsigned long long>(static_cast<bits>(b));
    if (op == ncclSum || op == ncclAvg) return static_cast<T>(static_cast<bits>(x + y));
    if (op == ncclProd) return static_cast<T>(static_cast<bits>(x * y));
  } else {
    if (op == ncclSum || op == ncclAvg) return a + b;
    if (op == ncclProd) return a * b;
    if (a != a || b != b) return a + b;  // a NaN stays
  }
  return (op == ncclMax) == (a < b) ? b : a;
}

// Calls f(element) for the element's kind.
template <class F>
void with_type(ncclDataType_t type, const F& f) {
  switch (type) {
    case ncclInt8: return f(plain<std::int8_t>());
    case ncclUint8: return f(plain<std::uint8_t>());
    case ncclInt32: return f(plain<std::int32_t>());
    case ncclUint32: return f(plain<std::uint32_t>());
    case ncclInt64: return f(plain<std::int64_t>());
    case ncclUint64: return f(plain<std::uint64_t>());
    case ncclFloat16: return f(half());
    case ncclBfloat16: return f(brain());
    case ncclFloat32: return f(plain<float>());
    case ncclFloat64: return f(plain<double>());
    default: return;
  }
}

// Buffers need not be aligned.
template <class T>
T read(const void* from, std::size_t i) {
  T x;
  std::memcpy(&x, static_cast<const std::byte*>(from) + i * sizeof x, sizeof x);
  return x;
}
template <class T>
void write(void* to, std::size_t i, T x) {
  std::memcpy(static_cast<std::byte*>(to) + i * sizeof x, &x, sizeof x);
}

}  // namespace

void accumulate(ncclDataType_t type, ncclRedOp_t op, void* acc, const void* x, std::size_t count) {
  with_type(type, [&](auto element) {
    using stored = typename decltype(element)::stored;
    for (std::size_t i = 0; i < count; ++i) {
      write(acc, i, element.store(combine(op, element.load(read<stored>(acc, i)), element.load(read<stored>(x, i)))));
    }
  });
}

void divide(ncclDataType_t type, void* acc, std::size_t count, int ranks) {
  with_type(type, [&](auto element) {
    using stored = typename decltype(element)::stored;
    using computed = typename decltype(element)::computed;
    for (std::size_t i = 0; i < count; ++i) {
      const computed mean = static_cast<computed>(element.load(read<stored>(acc, i)) / static_cast<computed>(ranks));
      write(acc, i, element.store(mean));
    }
  });
}

}  // namespace fake
