// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/load.hpp"

#include <openssl/sha.h>
#include <simdjson.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/checkpoint/tree_of.hpp"
#include "shardwise/models/families.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

using namespace support;

namespace {

std::string sha256(const void* data, std::size_t bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(static_cast<const unsigned char*>(data), bytes, digest);
  std::string text;
  for (unsigned char c : digest) {
    text += "0123456789abcdef"[c >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

/// An engine's tensors: one dense buffer for each parameter, filled with a mark.
class tensors {
 public:
  explicit tensors(sw::dtype type = sw::dtype::f32, unsigned char mark = 0xee) : type_(type), mark_(mark) {}
  sw::tensor_view operator()(const sw::sharded_parameter& p, const sw::tensor_shape& local) {
    auto& bytes = all[std::string(p.name)];
    if (bytes.empty()) bytes.assign(local.elements() * sw::size_of(type_), static_cast<std::byte>(mark_));
    return {bytes.data(), type_, local};
  }
  std::vector<float> floats(const std::string& name) const {
    const auto& bytes = all.at(name);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::map<std::string, std::vector<std::byte>> all;

 private:
  sw::dtype type_;
  unsigned char mark_;
};

}  // namespace

TEST_CASE("every rank's tensors of every golden are Hugging Face's, byte for byte, and no other byte is read") {
  for (const std::string& name : golden_names) {
    for (int tp : {1, 2, 4}) {
      const auto file = sw::checkpoint::open(golden(name));
      const auto model = sw::checkpoint::converted(file);
      const auto& config = file.config();
      const sw::sharding s = sw::shard(sw::models::hf_plan(config.architectures().at(0), config.model_type()),
                                       sw::tree_of(model, config), {.tp = tp});
      simdjson::dom::parser parser;
      for (int rank = 0; rank < tp; ++rank) {
        INFO(name << " at tp " << tp << ", rank " << rank);
        const std::size_t before = file.bytes_read();
        tensors engine;
        const sw::load_report report = sw::load(s, rank, model, engine);
        CHECK(report.tensors == s.size());
        CHECK(report.bytes_read == s.bytes(rank));
        CHECK(file.bytes_read() - before == s.bytes(rank));

        if (tp == 1) {
          for (const auto& [parameter, bytes] : engine.all) CHECK((bytes == whole(model, parameter)));
          continue;
        }
        const simdjson::dom::element expected =
            parser.load((golden(name) / ("tp" + std::to_string(tp) + ".json")).string());
        std::size_t compared = 0;
        for (const auto field : simdjson::dom::object(expected["ranks"].at(static_cast<std::size_t>(rank)))) {
          const std::string parameter(field.key);
          INFO(parameter);
          REQUIRE(engine.all.count(parameter) == 1);
          const auto& bytes = engine.all.at(parameter);
          CHECK(sha256(bytes.data(), bytes.size()) == std::string_view(field.value["sha256"]));
          ++compared;
        }
        CHECK(compared == s.size());
      }
    }
  }
}
