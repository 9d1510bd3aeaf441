// SPDX-License-Identifier: Apache-2.0
#include "shardwise/detail/json_writer.hpp"

#include <simdjson.h>

#include <cstdint>
#include <limits>
#include <string>

#include "catch.hpp"

namespace sw = shardwise;

TEST_CASE("JSON is written with its commas where they belong", "[audit]") {
  sw::detail::json_writer w;
  w.begin_object().member("a", 1).key("b").begin_array().value(true).begin_object().end_object().begin_array();
  w.end_array().null().end_array().member("c", "x").key("d").raw("[1,2]").end_object();
  CHECK(w.text() == R"({"a":1,"b":[true,{},[],null],"c":"x","d":[1,2]})");
  CHECK(sw::detail::json_writer().begin_array().end_array().take() == "[]");
}

TEST_CASE("every text is written as JSON that reads back as it was", "[audit]") {
  std::string all;
  for (char c = 0; c >= 0 && c < 127; ++c) all += c;
  all += "\x7f \xc3\xa4 \xe2\x80\x94 \xf0\x9f\x98\x80 </script>";
  sw::detail::json_writer w;
  w.begin_object().member(all, all).end_object();
  simdjson::dom::parser parser;
  const simdjson::dom::element e = parser.parse(w.text());
  const simdjson::dom::object fields = e;
  for (const auto& field : fields) {
    CHECK(field.key == all);
    CHECK(std::string_view(field.value) == all);
  }
}

TEST_CASE("what is no UTF-8 is replaced, so that the JSON stays valid", "[audit]") {
  const std::string_view broken[] = {"\x80",         "\xff",         "\xc3",         "\xc0\x80",        "\xe0\x80\x80",
                                     "\xed\xa0\x80", "\xe2\x80\x22", "\xf0\x9f\x98", "\xf4\x90\x80\x80"};
  for (const std::string_view s : broken) {
    const std::string json = sw::detail::json_writer().begin_array().value(s).end_array().take();
    CAPTURE(json);
    simdjson::dom::parser parser;
    simdjson::dom::element e;
    REQUIRE(parser.parse(json).get(e) == simdjson::SUCCESS);
    CHECK(std::string_view(e.at(0)).starts_with("\xef\xbf\xbd"));
  }
}

TEST_CASE("numbers read back as the same value, and what is not finite is null", "[audit]") {
  const double numbers[] = {0.0, -0.0, 0.1, 1.0 / 3, 1e300, 5e-324, 0.27, 123456789012345680.0};
  for (const double x : numbers) {
    simdjson::dom::parser parser;
    const std::string json = sw::detail::json_writer().begin_array().value(x).end_array().take();
    CHECK(double(parser.parse(json).at(0)) == x);
  }
  sw::detail::json_writer w;
  w.begin_array().value(std::numeric_limits<std::uint64_t>::max()).value(std::numeric_limits<std::int64_t>::min());
  w.value(std::numeric_limits<double>::infinity()).value(std::numeric_limits<double>::quiet_NaN()).end_array();
  CHECK(w.text() == "[18446744073709551615,-9223372036854775808,null,null]");
}
