// SPDX-License-Identifier: Apache-2.0
// What each rank holds after loading, so that it can be compared byte for byte.
#pragma once
#include <openssl/evp.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "weights.hpp"

namespace generate {

/// A local tensor's name, shape and sha256 (of float32, in C order, little endian).
struct shard_sum {
  std::string name;
  sw::tensor_shape shape;
  std::string sha256;
};

inline std::string sha256_of(const tensor& t) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(t.data(), t.bytes(), digest, &size, EVP_sha256(), nullptr) != 1) {
    throw sw::error("OpenSSL cannot compute a sha256");
  }
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

inline std::vector<shard_sum> sums_of(const sw::sharding& sharding, const weights& parameters) {
  std::vector<shard_sum> sums;
  for (std::size_t i = 0; i < sharding.size(); ++i) {
    const tensor& t = parameters.local(i);
    sums.push_back({std::string(sharding[i].name), t.shape(), sha256_of(t)});
  }
  return sums;
}

/// A line for each tensor, to be sent to another process; and back.
inline std::string to_lines(std::span<const shard_sum> sums) {
  std::ostringstream text;
  for (const shard_sum& s : sums) {
    text << s.name << ' ' << s.sha256 << ' ' << s.shape.dims();
    for (const std::size_t extent : s.shape) text << ' ' << extent;
    text << '\n';
  }
  return text.str();
}
inline std::vector<shard_sum> from_lines(const std::string& lines) {
  std::vector<shard_sum> sums;
  std::istringstream text(lines);
  shard_sum s;
  std::size_t dims = 0;
  while (text >> s.name >> s.sha256 >> dims) {
    s.shape = {};
    for (std::size_t extent = 0; s.shape.dims() < dims && text >> extent;) s.shape.push(extent);
    sums.push_back(s);
  }
  return sums;
}

/// {"ranks": [{name: {"shape": [...], "sha256": "..."}}]}. `sums` by rank. Parameter names need no escapes: they were
/// matched against the engine's own.
inline void write_sums(const std::filesystem::path& path, std::span<const std::vector<shard_sum>> sums) {
  std::ofstream out(path);
  out << "{\n \"ranks\": [";
  for (std::size_t r = 0; r < sums.size(); ++r) {
    out << (r == 0 ? "\n  {" : ",\n  {");
    for (std::size_t i = 0; i < sums[r].size(); ++i) {
      const shard_sum& s = sums[r][i];
      out << (i == 0 ? "\n   \"" : ",\n   \"") << s.name << "\": {\"shape\": [";
      for (std::size_t d = 0; d < s.shape.dims(); ++d) out << (d == 0 ? "" : ", ") << s.shape[d];
      out << "], \"sha256\": \"" << s.sha256 << "\"}";
    }
    out << "\n  }";
  }
  out << "\n ]\n}\n";
  out.close();
  if (!out) throw sw::error(path.string(), " cannot be written");
}

}  // namespace generate
