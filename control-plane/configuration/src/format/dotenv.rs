//! `.env` files. There is no standard; this is what Node.js' `dotenv`, `python-dotenv`, Docker Compose and POSIX shells
//! agree on, and where they do not, what loses nothing.
//!
//! # Read
//!
//! | in the file | is |
//! |-------------|----|
//! | `NAME=…`, `export NAME=…` | a variable; blanks (spaces, tabs) around the name and the `=` are dropped |
//! | `NAME=` | the empty text |
//! | `NAME=text` | the text up to the end of the line or to a blank with a `#`, without blanks at its ends. Backslashes, quotes and a `#` within it are text, but for `\${`. `${KEY}` is a reference |
//! | `NAME="text"` | `\n` `\r` `\t` `\"` `\\` `\$` and `` \` `` are escapes; any other backslash is one. `${KEY}` is a reference. May have several lines |
//! | `NAME='text'`, `` NAME=`text` `` | the text up to the next such quote, literal: no escapes, no references. May have several lines |
//! | `\${`, `$${` | `${` as text. Of `$`s in front of a `{`, one with a backslash is text, and so is the half of those without |
//! | `# …` at the beginning of a line, after a closing quote, after a blank | a comment |
//! | a line feed, with or without a carriage return before it | the end of a line; in quotes, a line feed |
//! | a byte order mark at the beginning | nothing |
//! | `NAME: text`, `NAME` alone, anything else | refused |
//!
//! A `$NAME` without braces is text.
//!
//! # Written
//!
//! Bare where every character is a letter, a digit or one of `_./:@%+,-`; in single quotes where the text has neither
//! `'` nor a carriage return and does not end in a backslash; in double quotes otherwise, and where it refers to other
//! variables. Lines stay lines. What is written is read back exactly; a variable without a value is a comment.
//!
//! Others read the same, with these exceptions (seen with bash 5.2, `python-dotenv` 1.2, Node.js 20, `dotenv` 16,
//! `dotenv-expand` 12; for Docker Compose, from its parser):
//!
//! | in a value | reader | reads |
//! |------------|--------|-------|
//! | a `${…}` that is text | `python-dotenv`, `dotenv-expand` | a reference, in any quotes: they have no escape for it |
//! | a `$NAME` | `dotenv-expand` | a reference, in any quotes |
//! | `'` or a `\` at the end, and `$` or `` ` `` | `python-dotenv`, Node.js | `\$` and `` \` `` with their backslashes |
//! | `'`, and `"` or `\` | Node.js | the escapes as they stand; `--env-file` ends at the `"` |
//! | `\\` in single quotes | `python-dotenv` | one backslash |
//! | a `\` at the end | Node.js, Compose | two, or no end of the value |
//! | a carriage return | a shell, `--env-file` | `\r` as it stands |
//! | a reference | whoever does not expand `${KEY}`; a shell where it is `${env:NAME/KEY}` | text, or an error |

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;
