// SPDX-License-Identifier: Apache-2.0
#include "shardwise/plan/export.hpp"

#include <simdjson.h>

#include <map>
#include <string>

#include "catch.hpp"
#include "shardwise/detail/json_writer.hpp"
#include "shardwise/plan/import.hpp"

namespace sw = shardwise;

namespace {

using rows = std::map<std::string, std::string>;

rows rows_of(const sw::exported_plan& e) {
  rows out;
  for (const sw::exported_row& r : e) out[std::string(r.pattern)] = r.style;
  CHECK(out.size() == e.size());
  return out;
}
/// What a plan of one row, which Hugging Face's words do not say, is noted with.
std::string noted(const sw::rule& r, std::size_t rows_left = 0) {
  const sw::exported_plan e = sw::exported({&r, 1});
  CHECK(e.size() == rows_left);
  REQUIRE(e.notes().size() == 1);
  sw::error pattern;
  sw::detail::append_path(pattern, r.pattern);
  CHECK(e.notes()[0].what == pattern.text());
  return std::string(e.notes()[0].why);
}

}  // namespace

TEST_CASE("a plan is written in Hugging Face's words, with its choices written out", "[plan]") {
  static constexpr auto plan = sw::plan({{"model.layers.*.{q,k}_proj.{weight,bias}", sw::colwise},
                                         {"model.layers.*.o_proj", sw::rowwise},
                                         {"model.layers.*.up", sw::packed_colwise<2>},
                                         {"model.norm", sw::replicate("a norm")},
                                         {"a.*.7.*.x2", sw::ep_dispatch_experts}});
  const sw::exported_plan e = sw::exported(plan);
  CHECK(e.notes().empty());
  CHECK(rows_of(e) == rows{{"model.layers.*.q_proj.weight", "colwise"},
                           {"model.layers.*.q_proj.bias", "colwise"},
                           {"model.layers.*.k_proj.weight", "colwise"},
                           {"model.layers.*.k_proj.bias", "colwise"},
                           {"model.layers.*.o_proj", "rowwise"},
                           {"model.layers.*.up", "packed_colwise"},
                           {"model.norm", "replicate"},
                           {"a.*.7.*.x2", "ep_dispatch_experts"}});
}

TEST_CASE("what Hugging Face's words cannot say is noted", "[plan]") {
  using Catch::Matchers::StartsWith;
  CHECK_THAT(noted({"qkv", sw::colwise.groups(3)}), StartsWith("packed_colwise of 3 groups"));
  CHECK_THAT(noted({"qkv", sw::colwise.groups(sw::heads("q"), sw::heads("k"))}),
             StartsWith("packed_colwise of 2 unequal groups"));
  CHECK_THAT(noted({"conv1d", sw::colwise.convolution()}), StartsWith("colwise of a convolution"));
  CHECK_THAT(noted({"down", sw::rowwise_partial_output}), StartsWith("rowwise_partial_output: Hugging Face reduces"));
  CHECK_THAT(noted({"experts", sw::partial_output}), StartsWith("partial_output: Hugging Face reduces"));
  CHECK_THAT(noted({"lm_head", sw::colwise_gather_output.uneven()}, 1), StartsWith("uneven(): Hugging Face deals"));
  CHECK_THAT(noted({"up", sw::colwise.tiles(2)}, 1), StartsWith("tiles(2): Hugging Face cuts between any two"));
  CHECK_THAT(noted({"proj", sw::rowwise.or_whole("heads")}, 1), StartsWith("or_whole(): Hugging Face cuts it"));
  CHECK(sw::exported(sw::plan({{"k", sw::colwise.units("k").read_by("q")}})).notes().size() == 2);
  CHECK_THAT(noted({"{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}.{a,b}", sw::colwise}),
             StartsWith("its braces stand for more than 256 names"));
  CHECK_THAT(noted({"head", sw::colwise_gather_output.groups(2)}), StartsWith("colwise_gather_output of 2 groups"));
  CHECK_THAT(noted({"q", sw::colwise.units("num_heads")}, 1), StartsWith("units(\"num_heads\")"));
  CHECK_THAT(noted({"down", sw::packed_rowwise<2>}, 1), StartsWith("its packed_rowwise speaks of the parameters only"));
  CHECK_THAT(noted({"**.norm", sw::replicate}), StartsWith("Hugging Face has no '**'"));
  CHECK_THAT(noted({"layers.3.up", sw::colwise}), StartsWith("Hugging Face stars the number 3"));
  CHECK_THAT(noted({"*.up", sw::colwise}), StartsWith("a star that comes first"));
  CHECK_THAT(noted({"a.*.*.up", sw::colwise}), StartsWith("a star that comes first, or after another one"));

  static constexpr auto plan = sw::plan({{"a", sw::colwise}, {"b", sw::colwise}}).with({{"{a,c}", sw::rowwise}});
  const sw::exported_plan e = sw::exported(plan);
  CHECK(rows_of(e) == rows{{"a", "rowwise"}, {"b", "colwise"}, {"c", "rowwise"}});
  REQUIRE(e.notes().size() == 1);
  CHECK(e.notes()[0].what == "{a,c}");
}

TEST_CASE("an imported plan is exported as it was, whatever its patterns hold", "[plan]") {
  // A name may hold anything but a dot in a segment; the third is broken UTF-8.
  const rows before = {{"layers.*.up", "packed_rowwise"},
                       {"quote\"back\\slash.line\nend\ttab\x01", "colwise_gather_output"},
                       {"no utf-8 \xc3", "rowwise"},
                       {"", "replicate"},
                       {"\xe5\xb1\xa4.*", "embedding_rowwise"}};
  sw::imported_plan plan;
  for (const auto& [pattern, style] : before) plan.add(pattern, style);
  const sw::exported_plan e = sw::exported(plan);
  CHECK(e.notes().empty());
  CHECK(rows_of(e) == before);

  sw::detail::json_writer json;
  e.write_json(json);
  simdjson::dom::parser parser;
  rows read;
  for (const auto row : simdjson::dom::object(parser.parse(simdjson::padded_string(json.text())))) {
    read[std::string(row.key)] = row.value.get_string().value();
  }
  rows expected = before;
  expected.erase("no utf-8 \xc3");
  expected["no utf-8 \xef\xbf\xbd"] = "rowwise";  // JSON holds characters only
  CHECK(read == expected);
}
