// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/write_safetensors.hpp"

#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/safetensors.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_view;
using sw::checkpoint::named_tensor;
using sw::checkpoint::safetensors_file;
using sw::checkpoint::write_safetensors;

namespace {

std::size_t files_in(const temporary_folder& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

}  // namespace

TEST_CASE("a file is written as the format says: a padded header, the widest dtypes first, then by name") {
  const temporary_folder folder;
  float one = 1.0f;
  std::uint8_t bytes[3] = {1, 2, 3};
  std::int64_t eight = 8;
  const named_tensor tensors[] = {{"b", {&one, dtype::f32, {1, 1}}},
                                  {"bytes", {bytes, dtype::u8, {3}}},
                                  {"a", {&one, dtype::f32, {}}},
                                  {"long", {&eight, dtype::i64, {1}}},
                                  {"none", {nullptr, dtype::f32, {0, 2}}}};
  write_safetensors(folder / "f", tensors);
  std::string header = R"({"__metadata__":{"format":"pt"},)"
                       R"("long":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                       R"("a":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
                       R"("b":{"dtype":"F32","shape":[1,1],"data_offsets":[12,16]},)"
                       R"("none":{"dtype":"F32","shape":[0,2],"data_offsets":[16,16]},)"
                       R"("bytes":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})";
  while (header.size() % 8 != 0) header += ' ';
  const std::string data("\x08\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\x80\x3f\x01\x02\x03", 19);
  CHECK(read_file(folder / "f") == safetensors_bytes(header, data));
  CHECK(safetensors_file::open(folder / "f").size() == 5);
}

TEST_CASE("strided tensors are written dense, and any name comes back") {
  const temporary_folder folder;
  std::vector<float> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  tensor_view transposed(values.data(), dtype::f32, {3, 2, 2});
  transposed.strides[0] = 1;
  transposed.strides[1] = 6;
  transposed.strides[2] = 3;
  const std::string name = "quote\" back\\slash\nline\x01 \xc3\xa9";
  const named_tensor tensors[] = {{name, transposed}};
  write_safetensors(folder / "f", tensors);
  const auto file = safetensors_file::open(folder / "f");
  REQUIRE(file.find(name) == 0);
  const auto bytes = whole(file, name);
  const std::vector<float> expected = {0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11};
  REQUIRE(bytes.size() == sizeof(float) * expected.size());
  CHECK(std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0);
}

TEST_CASE("a file that is in the way is replaced, and one that is open keeps what it had") {
  const temporary_folder folder;
  float value = 1.0f;
  const named_tensor tensors[] = {{"a", {&value, dtype::f32, {1}}}};
  write_safetensors(folder / "f", tensors);
  const auto before = safetensors_file::open(folder / "f");
  value = 2.0f;
  write_safetensors(folder / "f", tensors);
  float read = 0;
  before.read(0, {{0}, {1}}, tensor_view(&read, dtype::f32, {1}));
  CHECK(read == 1.0f);
  safetensors_file::open(folder / "f").read(0, {{0}, {1}}, tensor_view(&read, dtype::f32, {1}));
  CHECK(read == 2.0f);
  CHECK(files_in(folder) == 1);
}

TEST_CASE("a write that fails leaves no trace") {
  const temporary_folder folder;
  float value = 1.0f;
  const tensor_view view(&value, dtype::f32, {1});
  const auto refused = [&](const std::vector<named_tensor>& tensors, const std::string& text) {
    CHECK_THROWS_MATCHES(write_safetensors(folder / "f", tensors), sw::checkpoint_error, says(text));
    CHECK(files_in(folder) == 0);
  };
  refused({{"a", view}, {"a", view}}, "'a' was to be written twice");
  refused({{"__metadata__", view}}, "keeps for itself");
  refused({{"\xff", view}}, "no UTF-8");
  refused({{"a", {nullptr, dtype::f32, {1}}}}, "'a' has no memory");

  std::filesystem::create_directory(folder / "taken");
  const named_tensor tensors[] = {{"a", view}};
  CHECK_THROWS_MATCHES(write_safetensors(folder / "taken", tensors), sw::checkpoint_error,
                       says("cannot be put in place"));
  CHECK(files_in(folder) == 1);
  CHECK_THROWS_MATCHES(write_safetensors(folder / "none" / "f", tensors), sw::checkpoint_error,
                       says("No such file or directory"));
}

TEST_CASE("what a golden holds is written and read back the same") {
  const temporary_folder folder;
  const auto golden_file = safetensors_file::open(golden("llama_bias") / "model.safetensors");
  std::vector<std::vector<std::byte>> memory;
  std::vector<named_tensor> tensors;
  for (std::size_t i = 0; i < golden_file.size(); ++i) {
    const sw::tensor_info info = golden_file.info(i);
    memory.push_back(whole(golden_file, info.name));
    tensors.push_back({info.name, {memory.back().data(), info.type, info.shape}});
  }
  write_safetensors(folder / "f", tensors);
  // The golden is Hugging Face's own: the same header, the same data.
  CHECK(read_file(folder / "f") == read_file(golden("llama_bias") / "model.safetensors"));
}
