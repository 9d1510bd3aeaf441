// SPDX-License-Identifier: Apache-2.0
// A picture of what each rank holds.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "shardwise/audit/detail/picture_bands.hpp"
#include "shardwise/audit/detail/picture_drawing.hpp"
#include "shardwise/checkpoint/detail/text.hpp"

namespace shardwise {
inline namespace v0 {

/// The largest number of ranks that are drawn.
inline constexpr int most_ranks_drawn = 256;

struct picture_options {
  std::string_view title = "";  ///< the name of the model
  layout_view layout = {};      ///< what the dims of the engine's parameters are made of
  bool narrow = false;          ///< of `picture_svg`: as wide as a phone
};

namespace detail {
inline picture_data picture_of(plan_view plan, const tree& model, int tp, layout_view layout) {
  if (tp < 1 || tp > most_ranks_drawn) {
    raise(plan_error("tp is ", tp, "; a picture is drawn of 1 to ", most_ranks_drawn, " ranks"));
  }
  const survey s(plan, model, layout);
  return picture_maker(s, tp).make();
}
}  // namespace detail

/// One SVG. A column for each rank, as high as its bytes; what is shared out is a row of bricks, what is whole a bar
/// through all columns, red where no rule says so. Alike layers are one band; whoever points at it is told the whole
/// story. Throws `plan_error` for a number of ranks that cannot be drawn.
inline std::string picture_svg(plan_view plan, const tree& model, int tp, const picture_options& options = {}) {
  const detail::picture_data d = detail::picture_of(plan, model, tp, options.layout);
  return detail::picture_drawing(d, options.title, options.narrow, "sw").draw();
}

/// The same as a page of its own, that asks for nothing from elsewhere, with a table of all parameters below.
inline std::string picture_html(plan_view plan, const tree& model, int tp, const picture_options& options = {}) {
  const detail::picture_data d = detail::picture_of(plan, model, tp, options.layout);
  const std::string title(options.title.empty() ? "shardwise" : options.title);
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>" +
      detail::xml_text(title + ", " + detail::counted(static_cast<std::size_t>(tp), "rank")) +
      "</title>\n<style>\n"
      ":root{color-scheme:light}\n"
      "body{margin:0 auto;max-width:960px;background:#fff;color:#1b2430;"
      "font:14px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif}\n"
      "svg{display:block;width:100%}\n.narrow{display:none}\n"
      "@media(max-width:640px){.wide,.s{display:none}.narrow{display:block}}\n"
      ".table{overflow-x:auto;margin:8px 14px 32px}\n"
      "table{border-collapse:collapse;width:100%}\n"
      "th,td{padding:3px 10px 3px 0;text-align:left;border-bottom:1px solid #e6e9ed;vertical-align:top}\n"
      "th{font-weight:600;white-space:nowrap}\ntd.n,th.n{text-align:right;white-space:nowrap}\n"
      "td:first-child{overflow-wrap:anywhere;min-width:10em}\n"
      "i{font-style:normal;font-weight:400;color:#5b6673}\n"
      ".k0{color:#b71c1c;font-weight:600}.k1{color:#8a5a00}.k2{color:#65318a;font-weight:600}\n"
      "</style></head><body>\n<main>\n<div class=\"wide\">" +
      detail::picture_drawing(d, options.title, false, "w").draw() + "</div>\n<div class=\"narrow\">" +
      detail::picture_drawing(d, options.title, true, "n").draw() +
      "</div>\n<div class=\"table\"><table><thead><tr><th>parameter</th>"
      "<th class=\"n\">on a rank</th><th>placement</th>"
      "<th class=\"s\">shape</th><th class=\"s\">style</th></tr></thead><tbody>\n";
  for (const detail::picture_row& r : d.rows) {
    std::string where = r.how.whole() ? "whole" : "cut on dim " + std::to_string(r.how.dim);
    if (r.kind == detail::band_kind::refused) where += ", does not divide";
    const std::string style = r.style + (r.reason.empty() ? "" : ": " + r.reason);
    out += "<tr><td class=\"k" + std::to_string(static_cast<int>(r.kind)) + "\">" + detail::xml_text(r.name) +
           (r.count == 1 ? "" : " <i>\xc3\x97" + std::to_string(r.count) + "</i>") + "</td><td class=\"n\">" +
           detail::bytes_text(r.most()) + "</td><td>" + where + "</td><td class=\"s\">" + detail::shape_text(r.shape) +
           "</td><td class=\"s\">" + detail::xml_text(style) + "</td></tr>\n";
  }
  return out + "</tbody></table></div>\n</main></body></html>\n";
}

}  // namespace v0
}  // namespace shardwise
