//! The arithmetic of history, and nothing but arithmetic.
//!
//! What flows through: samples of a source (an instance, or a deployment as a whole) into its [`Ring`], where late ones
//! find their place; from there as [`Block`]s, which a [`Packer`] compresses into rows that fill the pages of a store;
//! and, one after the other, into a [`Cascade`], which makes the roll-ups of the coarser [`Tiers`]. Back come [`Row`]s,
//! of which only the columns that are asked for are decoded, and [`query`] makes answers of them.
//!
//! ```text
//!   sample ─▶ Ring ─▶ Block ─▶ Packer ─▶ rows ═▶ store ═▶ Row ─▶ column, rollups ─▶ query::series ─▶ Across
//!               └──▶ Cascade ─▶ rollup::insert ─▶ Block of a coarser tier ─▶ …
//! ```
//!
//! # What must never be true
//!
//! - That it reads a clock, draws a random number, waits, or does I/O. Time is an argument; the store is the caller's.
//! - That a value returns changed: columns are lossless bit for bit. What is to be rounded is rounded before
//!   ([`precision`]). NaN is no value but the absence of one.
//! - That a gap is filled: what is not known is absent in a row, in a roll-up and in an answer.
//! - That the same sample counts twice: the ring and the cascade take a time once.
//! - That bytes which are no row, or a damaged one, end in a panic or an allocation that they chose: every length is held
//!   against [`limits`] first, and the answer is a [`DecodeError`].
//!
//! # Why a codec of its own
//!
//! A column is coded by a range coder under models that adapt to it ([the layout](row)), at about 60 ns a value to read: a
//! fifth of a millisecond for an hour of one metric. A codec with tables, such as pco, is five times faster, as small on
//! busy columns of a thousand values, and larger on idle ones. This one is without `unsafe`, cannot fail on bytes that
//! lie, and is short. `examples/ratio` measures it beside VictoriaMetrics and Prometheus.

#![forbid(unsafe_code)]

pub mod block;
mod coder;
mod column;
pub mod error;
mod latency;
pub mod limits;
mod number;
pub mod pack;
pub mod precision;
pub mod query;
pub mod ring;
pub mod rollup;
pub mod row;
mod sequence;
pub mod series;
pub mod tier;
mod times;
mod varint;

pub use block::Block;
pub use error::{BlockError, DecodeError, QueryError, TierError};
pub use pack::{PackedRow, Packer};
pub use ring::{Ring, RingConfig};
pub use rollup::{Cascade, Rollup};
pub use row::{BlockView, Row};
pub use series::{ColumnKey, Field, Kind, MetricName, SourceId};
pub use tier::{Tier, Tiers};
