// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/folder.hpp"

#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace support;
using sw::tensor_view;

static_assert(sw::tensor_source<sw::checkpoint::folder>);

namespace {

const std::string one_tensor_each[] = {
    safetensors_bytes(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "12"),
    safetensors_bytes(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "34"),
};

/// A folder of two files of one tensor each, and this index.
void indexed(const temporary_folder& folder, const std::string& weight_map) {
  write_file(folder / "config.json", R"({"model_type":"x"})");
  write_file(folder / "1.safetensors", one_tensor_each[0]);
  write_file(folder / "2.safetensors", one_tensor_each[1]);
  write_file(folder / "model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + weight_map + "}");
}

void refused(const std::string& weight_map, const std::string& text) {
  const temporary_folder folder;
  indexed(folder, weight_map);
  INFO(weight_map);
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder.path()), sw::checkpoint_error, says(text));
}

}  // namespace

TEST_CASE("every golden has the names and shapes that Hugging Face lists") {
  for (const std::string& name : golden_names) {
    INFO(name);
    const auto model = sw::checkpoint::open(golden(name));
    CHECK(shapes_of(model) == listed(name, "checkpoint"));
    CHECK_FALSE(model.config().model_type().empty());
    CHECK(model.path() == golden(name));
  }
}

TEST_CASE("a checkpoint over several files is the same as in one") {
  const auto single = sw::checkpoint::open(golden("llama"));
  auto files = sw::checkpoint::open(golden("llama") / "sharded");
  const auto moved = std::move(files);
  CHECK(shapes_of(moved) == shapes_of(single));
  for (std::size_t i = 0; i < single.size(); ++i) {
    const std::string_view name = single.info(i).name;
    INFO(name);
    CHECK(moved.info(moved.find(name)).name == name);
    CHECK((whole(moved, name) == whole(single, name)));
  }
  CHECK(moved.find("no") == sw::checkpoint::folder::npos);
  CHECK(moved.bytes_read() == single.bytes_read());
  CHECK(moved.bytes_read() == 4 * 176576);  // the parameters that the index counts
}

TEST_CASE("an index that says what its files hold is accepted") {
  const temporary_folder folder;
  indexed(folder, R"({"b":"2.safetensors","a":"1.safetensors"})");
  const auto model = sw::checkpoint::open(folder.path());
  CHECK(model.size() == 2);
  char b[2] = {};
  model.read(model.find("b"), {{0}, {2}}, tensor_view(b, sw::dtype::u8, {2}));
  CHECK(std::string(b, 2) == "34");
}

TEST_CASE("an index and files that disagree are refused, with the name") {
  refused("[]", "no object 'weight_map'");
  refused("7", "no object 'weight_map'");
  refused(R"({"a":1})", "the file of the tensor 'a' is no text");
  refused(R"({"a":"1.safetensors","b":"3.safetensors"})", "3.safetensors cannot be opened: No such file");
  refused(R"({"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"})",
          "the tensor 'c' is not in '2.safetensors'");
  refused(R"({"a":"2.safetensors","b":"1.safetensors"})", "the tensor 'b' is not in '1.safetensors'");
  refused(R"({"a":"1.safetensors","a":"2.safetensors"})", "has the key 'a' twice");
  refused(R"({"a":"../1.safetensors"})", "'../1.safetensors', which is no name of a file beside the index");
  refused(R"({"a":"/etc/passwd"})", "no name of a file");
  refused(R"({"a":".."})", "no name of a file");
  refused(R"({"a":""})", "no name of a file");
  refused(R"({"a":"1.safetensors\u0000"})", "no name of a file");

  // A file with a tensor that the index does not have, or has elsewhere.
  const temporary_folder folder;
  indexed(folder, R"({"a":"1.safetensors","b":"2.safetensors"})");
  const std::string both = safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                             R"("b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                             "12");
  write_file(folder / "2.safetensors", both);
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder.path()), sw::checkpoint_error,
                       says("does not say that the tensor 'a' is in '2.safetensors'"));
}

TEST_CASE("a folder without a config, weights or a good index is refused") {
  const temporary_folder folder;
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder / "none"), sw::checkpoint_error,
                       says("config.json cannot be opened"));
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder.path()), sw::checkpoint_error, says("config.json cannot be opened"));
  write_file(folder / "config.json", "{}");
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder.path()), sw::checkpoint_error,
                       says("neither model.safetensors nor model.safetensors.index.json"));
  write_file(folder / "model.safetensors.index.json", "{");
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder.path()), sw::checkpoint_error, says("is not valid JSON"));
  write_file(folder / "model.safetensors.index.json", "[]");
  CHECK_THROWS_MATCHES(sw::checkpoint::open(folder.path()), sw::checkpoint_error, says("no object 'weight_map'"));
}
