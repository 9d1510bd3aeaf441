// SPDX-License-Identifier: Apache-2.0
// Faults of a compile-fail test, each of which the harness has to report; and one good case.
//! error[REFUSED]: the sentence; with \[brackets\]
//! error[REFUSED] gcc: static assertion failed
//! error[REFUSED] clang: static_assert failed|static assertion failed
//! error[COMPILES]: anything
//! error[OTHER_TEXT]: the sentence; with
//! error[ONLY_A_WARNING]: unused variable
//! error[ONLY_IN_THE_SOURCE]: refused_here
//! error[OTHER_COMPILER] icc: another sentence
//! error[ONE_OF_TWO]: another sentence
//! error[ONE_OF_TWO]: a third sentence
int main() {
#if defined(REFUSED)
  static_assert(sizeof(int) == 0, "the sentence; with [brackets]");
#elif defined(OTHER_TEXT) || defined(OTHER_COMPILER) || defined(ONE_OF_TWO)
  static_assert(sizeof(int) == 0, "another sentence");
#elif defined(ONLY_A_WARNING)
  int a;
  static_assert(sizeof(int) == 0, "another sentence");
#elif defined(ONLY_IN_THE_SOURCE)
  int refused_here = *sizeof(int);
#endif
}
