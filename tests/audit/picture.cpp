// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/picture.hpp"

#include <string>
#include <vector>

#include "audit/small_model.hpp"
#include "catch.hpp"
#include "shardwise/plan/import.hpp"

namespace sw = shardwise;

namespace {

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

// Every tag is closed in its order, every attribute is quoted, and no bare & or < is in the text: "" or what is wrong.
std::string wrong_with(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < xml.size(); ++at) {
    if (xml[at] == '&') {
      const std::size_t end = xml.find(';', at);
      if (end == std::string::npos || end - at > 6) return "a bare & at " + xml.substr(at, 40);
    }
    if (xml[at] != '<') continue;
    std::size_t end = at + 1;
    for (char quote = 0; end < xml.size() && (quote != 0 || xml[end] != '>'); ++end) {
      if (xml[end] == '<') return "a < within a tag: " + xml.substr(at, 40);
      if (quote == 0 && (xml[end] == '"' || xml[end] == '\'')) {
        quote = xml[end];
      } else if (xml[end] == quote) {
        quote = 0;
      }
    }
    if (end == xml.size()) return "a tag that does not end: " + xml.substr(at, 40);
    const std::string tag = xml.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /\n"));
    at = end;
    if (tag[0] == '!' || name == "meta" || tag.ends_with('/')) continue;
    if (tag[0] != '/') {
      open.push_back(name);
    } else if (open.empty() || open.back() != tag.substr(1)) {
      return "</" + tag.substr(1) + "> where <" + (open.empty() ? "nothing" : open.back()) + "> is open";
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

sw::imported_plan without_head() {
  sw::imported_plan p;
  for (const sw::rule& r : small_plan) {
    const std::string pattern = sw::detail::pattern_text(r);
    if (pattern == "norm") p.add(pattern, "replicate(small)");
    if (pattern == "layers.*.norm") p.add(pattern, "replicate(small)");
    if (pattern.find("norm") == std::string::npos && pattern != "lm_head") p.add(pattern, r.how.name());
  }
  return p;
}

}  // namespace

TEST_CASE("a picture has the bytes of each rank, by kind, with alike layers as one", "[audit]") {
  const sw::tree t = small_model();
  const sw::imported_plan plan = without_head();
  const sw::detail::picture_data d = sw::detail::picture_of(plan, t, 2, {});
  CHECK(d.model_bytes == 2 * 1240);
  CHECK(d.kind_bytes[0] == 256);     // the head
  CHECK(d.kind_bytes[1] == 2 * 24);  // norms
  CHECK(d.kind_bytes[2] == 0);
  CHECK(d.kind_bytes[3] == 2 * (1216 - 128) / 2);
  CHECK(d.rank_bytes == 256 + 48 + 1088);
  CHECK(d.share() == 1240);
  CHECK(d.excess() == 152);  // half of what is whole
  REQUIRE(d.bands.size() == 2 + 7);
  CHECK(d.bands[0].name == "lm_head.weight");
  CHECK(d.bands[0].rank_bytes == std::vector<std::size_t>{256, 256});
  CHECK(d.bands[1].name == "**");  // one reason, one band
  CHECK(d.bands[1].count == 3);
  CHECK(d.bands[2].name == "layers.*.mlp.gate_up_proj.weight");
  CHECK(d.bands[2].count == 2);
  CHECK(d.bands[2].most() == 2 * 24 * 8 * 2 / 2);

  // Whatever does not divide is said, and torch.chunk's last rank has less.
  const sw::detail::picture_data four = sw::detail::picture_of(small_plan, t, 4, {});
  CHECK(four.kind_bytes[2] == 2 * 2 * 2 * 32 / 4);  // keys and values: 2 heads over 4 ranks
  sw::tree large = small_model();  // what is refused keeps its name beside what is a thousand times as large
  large.add("large.weight", sw::dtype::bf16, {1000, 100});
  std::vector<std::string> refused;
  for (const sw::detail::picture_band& b : sw::detail::picture_of(plan, large, 4, {}).bands) {
    if (b.kind == sw::detail::band_kind::refused) refused.push_back(b.name);
  }
  CHECK(refused == std::vector<std::string>{"layers.*.self_attn.k_proj.weight", "layers.*.self_attn.v_proj.weight"});
  for (const sw::detail::picture_band& b : sw::detail::picture_of(plan, t, 3, {}).bands) {
    if (b.name == "embed_tokens.weight") CHECK(b.rank_bytes == std::vector<std::size_t>{96, 96, 64});
    if (b.name.ends_with("k_proj.weight")) CHECK(b.kind == sw::detail::band_kind::refused);
  }
  CHECK_THROWS_AS(sw::picture_svg(plan, t, 257), sw::plan_error);
  CHECK_THROWS_AS(sw::picture_html(plan, t, 0), sw::plan_error);
}

TEST_CASE("a picture is well-formed at every size, wide and narrow, and asks for nothing from elsewhere", "[audit]") {
  sw::tree t = small_model();
  t.add("<b>&\"'\xff.weight", sw::dtype::bf16, {64, 64});
  const sw::imported_plan plan = without_head();
  for (const int tp : {1, 2, 3, 8, 64, 256}) {
    for (const bool narrow : {false, true}) {
      CAPTURE(tp, narrow);
      const sw::picture_options o{.title = "a < b", .layout = {}, .narrow = narrow};
      const std::string svg = sw::picture_svg(plan, t, tp, o);
      CHECK(wrong_with(svg) == "");
      CHECK(count(svg, "<svg ") == 1);
      CHECK(count(svg, narrow ? "viewBox='0 0 380 " : "viewBox='0 0 960 ") == 1);
      CHECK(count(svg, "http") == 1);  // the name space
      CHECK(count(svg, "<b>") == 0);
      CHECK(count(svg, "nan") + count(svg, "inf") == 0);
      CHECK(svg == sw::picture_svg(plan, t, tp, o));
    }
    const std::string html = sw::picture_html(plan, t, tp, {.title = "a < b"});
    CHECK(wrong_with(html) == "");
    CHECK(count(html, "<svg ") == 2);
    CHECK(count(html, "<script") + count(html, "url(http") + count(html, "src=") + count(html, "href=") == 0);
    CHECK(count(html, "<tr>") == 1 + 11);  // a head, and a row for each name
  }
}

TEST_CASE("in a picture what is shared out is as many bricks as ranks, and what is whole one bar", "[audit]") {
  const sw::imported_plan plan = without_head();
  const std::string svg = sw::picture_svg(plan, small_model(), 4, {.title = "small"});
  const auto path_of = [&](const std::string& title) {
    const std::size_t at = svg.find("<title>" + title);
    REQUIRE(at != std::string::npos);
    const std::size_t begin = svg.find("<path d='", at) + 9;
    return svg.substr(begin, svg.find('\'', begin) - begin);
  };
  CHECK(count(path_of("layers.*.mlp.down_proj.weight: shared out"), "M") == 4);
  CHECK(count(path_of("lm_head.weight: whole on every rank, and no rule says so"), "M") == 1);
  CHECK_THAT(svg, Catch::Contains("lm_head.weight on all 4 ranks"));
  // A rank holds 256 + 48 + 2 x 1088 / 4 bytes: the head is as much of the height.
  const std::string bar = path_of("lm_head.weight");
  const double height = std::stod(bar.substr(bar.find('v') + 1));
  CHECK(height == Approx(540.0 * 256 / (256 + 48 + 544)).margin(1.01));
  const std::string full = sw::picture_svg(small_plan, small_model(), 2, {.title = "small"});
  CHECK_THAT(full, Catch::Contains("0 B whole on every rank, and no rule says so"));
}
