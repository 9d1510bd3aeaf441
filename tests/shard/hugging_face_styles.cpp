// SPDX-License-Identifier: Apache-2.0
// Imported plans are cut as Hugging Face's own styles cut: styles.json holds what those read, on every rank.
#include <simdjson.h>

#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;
using simdjson::dom::element;

namespace {

using pieces = std::vector<std::vector<std::size_t>>;  // [begin, end) each

pieces pieces_in(element list) {
  pieces all;
  for (const element piece : list.get_array()) {
    all.push_back({std::size_t(piece.at(0).get_uint64().value()), std::size_t(piece.at(1).get_uint64().value())});
  }
  return all;
}

/// One parameter of one case, in a model of its own.
struct parameter {
  std::string name;
  sw::tensor_shape shape;
  sw::sharding at(const std::string& style, int tp) const {
    sw::imported_plan plan;
    plan.add("owner", style);
    sw::tree model;
    model.add(name, sw::dtype::f32, shape);
    return sw::shard(plan, model, {.tp = tp});
  }
};

void check_whole(const sw::sharding& s, int tp) {
  for (int r = 0; r < tp; ++r) {
    REQUIRE(s.slices_of(0, r).count == 1);
    CHECK(s.slices_of(0, r).at[0] == sw::box::whole(s[0].shape));
    CHECK(s.local_shape(0, r) == s[0].shape);
  }
}

void check_cut(const sw::sharding& s, int tp, element expected) {
  const auto dim = std::size_t(expected["dim"].get_uint64().value());
  REQUIRE(s[0].how.dim == static_cast<int>(dim));
  for (int r = 0; r < tp; ++r) {
    INFO("rank " << r);
    const pieces want = pieces_in(expected["intervals"].at(static_cast<std::size_t>(r)));
    pieces have;
    std::size_t size = 0;
    for (const sw::box& b : s.slices_of(0, r)) {
      have.push_back({b.offset[dim], b.offset[dim] + b.extent[dim]});
      size += b.extent[dim];
      for (std::size_t d = 0; d < s[0].shape.dims(); ++d) {
        if (d != dim) CHECK((b.offset[d] == 0 && b.extent[d] == s[0].shape[d]));
      }
    }
    CHECK(have == want);
    CHECK(s.local_shape(0, r)[dim] == size);
  }
}

}  // namespace

TEST_CASE("every style cuts every parameter at every size as Hugging Face does, errors included", "[shard]") {
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/styles.json");
  std::size_t styles = 0, whole = 0, cut = 0, impossible = 0, empty_ranks = 0, experts = 0, uncounted_experts = 0,
              expert_counts = 0;
  for (const auto style : json["styles"].get_object()) {
    const std::string name(style.key);
    ++styles;
    for (const element c : json["cases"].get_array()) {
      parameter p{"owner." + std::string(c["parameter"].get_string().value()), {}};
      for (const element n : c["shape"].get_array()) p.shape.push(std::size_t(n.get_uint64().value()));
      const std::string_view label = c["label"].get_string().value();
      const element cuts = style.value["cuts"].get_object().at_key(label);
      for (const char* tp_text : {"1", "2", "3", "4", "5", "8"}) {
        const int tp = std::stoi(tp_text);
        INFO(name << ", " << label << ", tp " << tp);
        if (cuts.is_string()) {
          REQUIRE(cuts.get_string().value() == "whole at every tp");
          const sw::sharding s = p.at(name, tp);
          CHECK(s[0].how.whole());
          CHECK(s[0].covered() == sw::parse_style(name).has_parameter_half());
          check_whole(s, tp);
          ++whole;
          continue;
        }
        const element expected = cuts[tp_text];
        if (expected.is_string()) {
          REQUIRE(expected.get_string().value() == "whole");
          check_whole(p.at(name, tp), tp);
          ++whole;
        } else if (name == "grouped_gemm" && p.shape[0] % std::size_t(tp) != 0) {
          // Hugging Face asks the owner for `num_experts`, and cuts the experts unevenly where it has none.
          CHECK_THROWS_MATCHES(p.at(name, tp), sw::shard_error, says(" experts over " + std::to_string(tp) + " ranks"));
          const bool owner_counts = c["owner"].get_string().value() == std::string_view("experts");
          CHECK(owner_counts == !element(expected)["error"].error());
          ++(owner_counts ? experts : uncounted_experts);
        } else if (!element(expected)["error"].error()) {
          CHECK_THROWS_MATCHES(p.at(name, tp), sw::shard_error, says("cuts dim 1"));
          ++impossible;
        } else if (!element(expected)["rank_errors"].error()) {
          CHECK_THROWS_MATCHES(p.at(name, tp), sw::shard_error, says("(some would get none)"));
          ++empty_ranks;
        } else {
          const sw::sharding made = p.at(name, tp);
          check_cut(made, tp, expected);
          ++cut;
          // `strided` is what Hugging Face calls groups laid side by side.
          const std::string_view kind = cuts["placement"]["kind"].get_string().value();
          CHECK((made[0].how.groups > 1 ? "strided" : "shard") == kind);
          if (made[0].how.groups > 1)
            CHECK(cuts["placement"]["split_factor"].get_uint64().value() == made[0].how.groups);
          if (!cuts["num_experts_after"].error()) {
            CHECK(made.local_shape(0, tp - 1)[0] == cuts["num_experts_after"][tp_text].get_uint64().value());
            ++expert_counts;
          }
        }
      }
    }
  }
  CHECK(styles == 20);
  CHECK(impossible == 24);
  CHECK(experts == 6);
  CHECK(uncounted_experts == 28);
  CHECK(whole + cut + impossible + empty_ranks + experts + uncounted_experts == 20 * 12 * 6);
  CHECK(empty_ranks == 40);
  CHECK(expert_counts == 4);
}
