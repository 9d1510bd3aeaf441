// SPDX-License-Identifier: Apache-2.0
// What the tests of checkpoint/ share: goldens, files that are gone afterwards, and tensors whose elements say where
// they are.
#pragma once
#include <simdjson.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/plan/import.hpp"

namespace support {

namespace sw = shardwise;

inline const std::vector<std::string> golden_names = {
    "llama",   "llama_tied", "llama_bias", "llama_kv2",   "qwen2", "qwen3",       "qwen3_moe",
    "mixtral", "gpt_oss",    "phi3",       "gemma3_text", "olmo2", "qwen3_5_moe", "qwen3_5_moe_vl"};
inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(SHARDWISE_TEST_DATA) / "goldens" / name;
}

/// An empty folder that goes with the object.
class temporary_folder {
 public:
  temporary_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "shardwise-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::remove(path);  // to shorten a file may wait for the disk
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

/// The bytes of a .safetensors file with this header and this data.
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string bytes;
  for (unsigned i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes.append(header).append(data);
}

using shapes = std::map<std::string, std::vector<std::size_t>>;

/// The names and shapes that params.json of a golden lists: `parameters` of the model, or `checkpoint`.
inline shapes listed(const std::string& golden_name, std::string_view which) {
  simdjson::dom::parser parser;
  const simdjson::dom::element json = parser.load((golden(golden_name) / "params.json").string());
  shapes all;
  for (const auto field : simdjson::dom::object(json[which])) {
    auto& shape = all[std::string(field.key)];
    for (const simdjson::dom::element n : simdjson::dom::array(field.value)) shape.push_back(std::uint64_t(n));
  }
  return all;
}

/// The plan that Hugging Face applied to a golden, as its plan.json says it; with its expert-parallel plan over the
/// same ranks, if asked for.
inline sw::imported_plan plan_of(const std::string& golden_name, bool expert_parallel = false) {
  simdjson::dom::parser parser;
  const simdjson::dom::element json = parser.load((golden(golden_name) / "plan.json").string());
  const auto rows_of = [&](const char* key) {
    sw::imported_plan plan;
    for (const auto row : simdjson::dom::object(json[key])) plan.add(row.key, std::string_view(row.value));
    return plan;
  };
  sw::imported_plan plan = rows_of("tp_plan");
  if (!expert_parallel) return plan;
  const sw::imported_plan experts = rows_of("ep_plan");
  plan.leave_to(experts).add(experts);
  return plan;
}

template <sw::tensor_source Source>
shapes shapes_of(const Source& source) {
  shapes all;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const sw::tensor_info info = source.info(i);
    all[std::string(info.name)].assign(info.shape.begin(), info.shape.end());
  }
  return all;
}

/// A whole tensor of any source, by name, in its own type.
template <sw::tensor_source Source>
std::vector<std::byte> whole(const Source& source, std::string_view name) {
  for (std::size_t i = 0; i < source.size(); ++i) {
    const sw::tensor_info info = source.info(i);
    if (info.name != name) continue;
    std::vector<std::byte> bytes(info.shape.elements() * sw::size_of(info.type));
    source.read(i, sw::box::whole(info.shape), sw::tensor_view(bytes.data(), info.type, info.shape));
    return bytes;
  }
  throw std::runtime_error("no tensor " + std::string(name));
}

/// Tensors in memory that come with a config.
struct with_config {
  const sw::memory_source& tensors;
  sw::checkpoint::config told;
  std::size_t size() const { return tensors.size(); }
  sw::tensor_info info(std::size_t i) const { return tensors.info(i); }
  void read(std::size_t i, const sw::box& what, const sw::tensor_view& to) const { tensors.read(i, what, to); }
  const sw::checkpoint::config& config() const { return told; }
};

/// Calls `f(index)` for each index tuple of a shape, in row-major order.
template <class F>
void for_each_index(const sw::tensor_shape& shape, F&& f) {
  std::vector<std::size_t> at(shape.dims(), 0);
  for (std::size_t n = shape.elements(); n != 0; --n) {
    f(static_cast<const std::vector<std::size_t>&>(at));
    for (std::size_t d = shape.dims(); d-- > 0;) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
    }
  }
}

/// A small generator with the same numbers everywhere.
class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed * 2654435769u + 1) {}
  /// From 0 to n - 1.
  std::size_t below(std::size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state_ >> 33) % n);
  }

 private:
  std::uint64_t state_;
};

}  // namespace support
