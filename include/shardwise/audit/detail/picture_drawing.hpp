// SPDX-License-Identifier: Apache-2.0
// Draws bands as SVG: a column for each rank, bricks for what is shared out, bars through all columns for what is
// whole.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/picture_bands.hpp"
#include "shardwise/audit/detail/xml_text.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class picture_drawing {
 public:
  /// `narrow`: names below the columns and not beside them, for a phone.
  picture_drawing(const picture_data& d, std::string_view title, bool narrow, std::string_view id)
      : d_(d), title_(title), id_(id), narrow_(narrow) {}

  std::string draw() {
    heading();
    columns();
    narrow_ ? names_below() : names_beside();
    legend();
    return std::string("<svg xmlns='http://www.w3.org/2000/svg' role='img' viewBox='0 0 ") + coordinate(width()) + ' ' +
           coordinate(bottom_) + "' width='" + coordinate(width()) + "' height='" + coordinate(bottom_) +
           "' style='max-width:100%;height:auto' font-family='system-ui,-apple-system,Segoe UI,Roboto," +
           "Helvetica Neue,Arial,DejaVu Sans,sans-serif' aria-labelledby='" + id_ + "-t " + id_ + "-d'><title id='" +
           id_ + "-t'>" + xml_text(heading_text()) + "</title><desc id='" + id_ + "-d'>" + xml_text(description()) +
           "</desc>" +
           // Slanted lines over what is wrong, so that it does not hang on colour alone.
           "<defs><pattern id='" + id_ +
           "-h' width='7' height='7' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'>" +
           "<rect width='2.4' height='7' fill='#fff' fill-opacity='.35'/></pattern></defs>" +
           "<rect width='100%' height='100%' fill='#fff'/>" + out_ + "</svg>\n";
  }

 private:
  static constexpr std::string_view ink = "#1b2430", quiet = "#5b6673";
  static std::string_view colour(band_kind k) {
    constexpr std::string_view colours[] = {"#c62828", "#e0a030", "#7b3fa0", "#2f6db3"};
    return colours[static_cast<std::size_t>(k)];
  }
  std::string_view ink_of(const picture_band& b) const {
    if (b.kind == band_kind::whole_unsaid && !d_.alarming(b)) return quiet;
    constexpr std::string_view inks[] = {"#b71c1c", "#8a5a00", "#65318a", "#1b2430"};
    return inks[static_cast<std::size_t>(b.kind)];
  }

  double width() const { return narrow_ ? 380 : 960; }
  double left() const { return narrow_ ? 14 : 24; }
  double columns_width() const { return narrow_ ? 352 : 470; }
  double chart_height() const { return narrow_ ? 380 : 540; }

  std::string heading_text() const {
    return std::string(title_) + (title_.empty() ? "" : ": ") + counted(static_cast<std::size_t>(d_.tp), "rank") +
           ", " + each_text();
  }
  std::string each_text() const {
    bool uneven = false;
    for (const picture_band& b : d_.bands) uneven |= b.rank_bytes.front() != b.rank_bytes.back();
    return bytes_text(d_.rank_bytes) + (uneven ? " at most" : d_.tp == 1 ? "" : " each");
  }
  std::string share_text() const {
    std::string text = bytes_text(d_.model_bytes) + " of weights; an equal share is " + bytes_text(d_.share());
    if (d_.excess() != 0) text += ", and a rank holds " + bytes_text(d_.excess()) + " more";
    return text;
  }
  std::string description() const {
    std::string text = share_text() + ".";
    for (const picture_band& b : d_.bands) text += " " + b.title + ".";
    return text;
  }

  void text(double x, double y, double size, std::string_view fill, std::string_view what, std::string_view more = {}) {
    out_ += "<text x='" + coordinate(x) + "' y='" + coordinate(y) + "' font-size='" + coordinate(size) + "' fill='" +
            std::string(fill) + "'";
    if (!more.empty()) out_ += ' ' + std::string(more);
    out_ += '>' + xml_text(what) + "</text>";
  }
  // Lines of at most so many characters, broken at blanks; y of the line after them.
  double lines(double x, double y, double size, std::string_view fill, std::string_view what, std::size_t most) {
    while (!what.empty()) {
      std::size_t end = what.size();
      if (end > most) {
        end = what.rfind(' ', most);
        if (end == std::string_view::npos || end == 0) end = std::min(what.find(' '), what.size());
      }
      text(x, y, size, fill, what.substr(0, end));
      what.remove_prefix(std::min(end + 1, what.size()));
      y += size * 1.4;
    }
    return y;
  }

  void heading() {
    const double size = narrow_ ? 16 : 20;
    double y = narrow_ ? 26 : 34;
    if (!title_.empty()) {
      text(left(), y, size, ink, clipped(title_, narrow_ ? 40 : 84), "font-weight='600'");
      y += size * 1.35;
    }
    text(left(), y, narrow_ ? 14 : 16, ink, counted(static_cast<std::size_t>(d_.tp), "rank") + ", " + each_text(),
         "font-weight='600'");
    y += narrow_ ? 19 : 22;
    y = lines(left(), y, 12.5, quiet, share_text(), narrow_ ? 54 : 140);
    top_ = y + 4;
  }

  double height_of(std::size_t bytes) const {
    return d_.rank_bytes == 0 ? 0 : chart_height() * static_cast<double>(bytes) / static_cast<double>(d_.rank_bytes);
  }

  void columns() {
    const auto ranks = static_cast<std::size_t>(d_.tp);
    const double pitch = columns_width() / static_cast<double>(ranks);
    const double gap = ranks == 1 ? 0 : std::clamp(pitch * 0.12, 0.6, 4.0);
    double y = top_;
    bool light = false;
    for (std::size_t i = 0; i < d_.bands.size(); ++i) {
      const picture_band& b = d_.bands[i];
      light = i != 0 && d_.bands[i - 1].kind == b.kind && !light;
      const double h = height_of(b.most());
      const bool whole = b.kind == band_kind::whole_unsaid || b.kind == band_kind::whole_said;
      const double line = std::min(1.0, h / 4);  // a fine gap to the band below
      std::string shape;
      if (whole) {
        shape = brick(left(), y, ranks == 1 ? columns_width() : columns_width() - gap, h - line);
      } else {
        for (std::size_t r = 0; r < ranks; ++r) {
          const double part = height_of(b.rank_bytes[r]);
          if (part <= 0) continue;
          shape += brick(left() + static_cast<double>(r) * pitch, y + (h - part), pitch - gap,
                         std::max(part - line, part / 2));
        }
      }
      const std::string path = "<path d='" + shape + "'";
      out_ += "<g><title>" + xml_text(b.title) + "</title>" + path + " fill='" + std::string(colour(b.kind)) + "'";
      if (light && !whole) out_ += " fill-opacity='.82'";
      out_ += "/>";
      if (b.kind == band_kind::whole_unsaid || b.kind == band_kind::refused) {
        out_ += path + " fill='url(#" + id_ + "-h)'/>";
      }
      if (b.kind == band_kind::whole_unsaid && h >= 24 && ranks > 1) {
        const std::string what = clipped(b.name, narrow_ ? 26 : 36) + " on all " + std::to_string(ranks) + " ranks";
        text(left() + columns_width() / 2, y + h / 2 + 5, narrow_ ? 12.5 : 14, "#fff", what,
             "text-anchor='middle' font-weight='700' stroke='#c62828' stroke-width='5' paint-order='stroke' "
             "stroke-linejoin='round'");
      }
      out_ += "</g>";
      middles_.push_back(y + h / 2);
      y += h;
    }
    equal_share(y);
    ruler(y + 15, pitch, gap);
    bottom_ = y + 34;
  }
  static std::string brick(double x, double y, double w, double h) {
    return 'M' + coordinate(x) + ' ' + coordinate(y) + 'h' + coordinate(w) + 'v' + coordinate(h) + 'h' +
           coordinate(-w) + 'z';
  }
  // Everything above this line is more than a rank would hold if all were cut.
  void equal_share(double base) {
    if (d_.excess() == 0 || d_.tp == 1) return;
    const double y = base - height_of(d_.share());
    const double right = left() + columns_width() + (narrow_ ? 8 : 10);
    out_ += "<path d='M" + coordinate(left() - 8) + ' ' + coordinate(y) + 'H' + coordinate(right) +
            "' stroke='#1b2430' stroke-width='1.6' stroke-dasharray='5 4' fill='none'><title>" +
            xml_text("an equal share of the model, " + bytes_text(d_.share()) +
                     ": what is above this line is there because it is whole") +
            "</title></path>";
  }
  void ruler(double y, double pitch, double gap) {
    const int step = std::max(1, (d_.tp + 15) / 16);
    for (int r = 0; r < d_.tp; r += step) {
      text(left() + static_cast<double>(r) * pitch + (pitch - gap) / 2, y, 10.5, quiet, std::to_string(r),
           "text-anchor='middle'");
    }
    text(left() + columns_width() / 2, y + 14, 10.5, quiet, "rank", "text-anchor='middle'");
  }

  std::string value_text(const picture_band& b) const {
    std::string text = bytes_text(b.most());
    if (b.kind == band_kind::whole_unsaid || b.kind == band_kind::whole_said) {
      text += d_.tp == 1 ? "" : " on every rank";
    } else {
      text += " a rank";
    }
    if (b.rows == 1 && b.count > 1) text += ", \xc3\x97" + std::to_string(b.count);
    if (!b.detail.empty()) text += " \xc2\xb7 " + b.detail;
    return text;
  }

  void names_beside() {
    constexpr double line = 33;
    const double x0 = left() + columns_width(), x = x0 + 34;
    // As near to its band as the others allow: down from the top, then up from the bottom.
    std::vector<double> at(middles_);
    const double last = bottom_ - 38;
    for (std::size_t i = 0; i < at.size(); ++i) at[i] = std::max(at[i], i == 0 ? top_ + 10 : at[i - 1] + line);
    for (std::size_t i = at.size(); i-- > 0;) at[i] = std::min(at[i], i + 1 == at.size() ? last : at[i + 1] - line);
    double low = bottom_;
    for (std::size_t i = 0; i < at.size(); ++i) {
      at[i] = std::max(at[i], i == 0 ? top_ + 10 : at[i - 1] + line);
      const picture_band& b = d_.bands[i];
      out_ += "<path d='M" + coordinate(x0 + 1) + ' ' + coordinate(middles_[i]) + 'L' + coordinate(x0 + 18) + ' ' +
              coordinate(at[i]) + "H" + coordinate(x - 5) + "' stroke='" + std::string(colour(b.kind)) +
              "' fill='none'/>";
      out_ += "<g><title>" + xml_text(b.title) + "</title>";
      text(x, at[i] - 1, 13, ink_of(b), clipped(b.name, 56), d_.alarming(b) ? "font-weight='700'" : "");
      text(x, at[i] + 13.5, 11.5, quiet, clipped_end(value_text(b), 70));
      out_ += "</g>";
      low = std::max(low, at[i] + 24);
    }
    bottom_ = low;
  }
  void names_below() {
    double y = bottom_ + 12;
    for (const picture_band& b : d_.bands) {
      out_ += "<g><title>" + xml_text(b.title) + "</title><rect x='" + coordinate(left()) + "' y='" +
              coordinate(y - 9) + "' width='9' height='22' rx='1.5' fill='" + std::string(colour(b.kind)) + "'/>";
      text(left() + 16, y, 12, ink_of(b), clipped(b.name, 50), d_.alarming(b) ? "font-weight='700'" : "");
      text(left() + 16, y + 13, 11, quiet, clipped_end(value_text(b), 60));
      out_ += "</g>";
      y += 32;
    }
    bottom_ = y - 6;
  }
  static std::string clipped_end(const std::string& s, std::size_t most) {
    if (s.size() <= most) return s;
    std::size_t end = most - 1;
    while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xc0) == 0x80) --end;
    return s.substr(0, end) + "\xe2\x80\xa6";
  }

  void legend() {
    double y = bottom_ + 20;
    out_ += "<path d='M" + coordinate(left()) + ' ' + coordinate(y - 16) + 'H' + coordinate(width() - left()) +
            "' stroke='#d8dde3' fill='none'/>";
    constexpr band_kind kinds[] = {band_kind::shared, band_kind::whole_said, band_kind::whole_unsaid,
                                   band_kind::refused};
    for (const band_kind k : kinds) {
      const std::size_t bytes = d_.kind_bytes[static_cast<std::size_t>(k)];
      if (bytes == 0 && k != band_kind::whole_unsaid) continue;
      const std::string fill(colour(k));
      const std::string box =
          "<rect x='" + coordinate(left()) + "' y='" + coordinate(y - 10) + "' width='22' height='12' fill='";
      if (k == band_kind::shared) {  // three bricks
        for (int i = 0; i < 3; ++i) {
          out_ += "<rect x='" + coordinate(left() + 8 * i) + "' y='" + coordinate(y - 10) +
                  "' width='6.4' height='12' fill='" + fill + "'/>";
        }
      } else {
        out_ += box + fill + "'/>";
        if (k != band_kind::whole_said) out_ += box + "url(#" + id_ + "-h)'/>";
      }
      text(left() + 30, y, 12.5, bytes == 0 ? quiet : ink, bytes_text(bytes) + " " + band_words(k));
      y += 20;
    }
    if (d_.excess() != 0 && d_.tp != 1) {
      out_ += "<path d='M" + coordinate(left()) + ' ' + coordinate(y - 4) + 'h' + "24" +
              "' stroke='#1b2430' stroke-width='1.6' stroke-dasharray='5 4' fill='none'/>";
      text(left() + 30, y, 12.5, ink, bytes_text(d_.share()) + " an equal share of the model");
      y += 20;
    }
    bottom_ = y;
  }

  const picture_data& d_;
  std::string_view title_;
  std::string id_;
  bool narrow_;
  std::string out_;
  double top_ = 0, bottom_ = 0;
  std::vector<double> middles_;  // of the bands
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
