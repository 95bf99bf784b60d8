//! What was passed on to third parties, for the letter that tells it. The company's own words, from its
//! configuration.

use serde::Serialize;

use crate::config::ThirdParty;

/// The template that names the categories of data and the third parties that got them, or says that none did.
pub const DISCLOSED: &str = "disclosed";

/// The template that refers to an answer of the same year.
pub const DISCLOSED_BEFORE: &str = "disclosed_before";

/// What was passed on in one calendar year.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Disclosed<'a> {
    /// The year.
    pub year: i16,
    /// Categories of personal information; none where nothing was passed on.
    pub categories: &'a [String],
    /// Who got it.
    pub third_parties: &'a [ThirdParty],
    /// The reference of the request that was answered before, if one was.
    pub before: &'a str,
}

/// Third parties to try templates with.
pub(super) fn sample() -> [ThirdParty; 1] {
    [ThirdParty { name: "x".into(), address: "x".into(), business: "x".into() }]
}
