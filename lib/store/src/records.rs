//! Which of an element's records is the one to start from (docs/element-record.md).

/// How many earlier records are kept for an element.
pub const EARLIER_RECORDS: usize = 8;

/// The record of an element to start from, of those that are kept, the newest first: the newest that is
/// whole. Each is given as whether its build failed, and how many actions it used.
///
/// A build that failed half-way used few actions, and so did one that made what an edit touched and no
/// more. A record is whole if its build ended well and used at least half as many as the largest that did.
#[must_use]
pub fn whole_record(records: &[(bool, usize)]) -> Option<usize> {
    let any_well = records.iter().any(|(partial, _)| !partial);
    let well = || records.iter().enumerate().filter(|(_, (partial, _))| !(any_well && *partial));
    let most = well().map(|(_, (_, actions))| *actions).max()?;
    well().find(|(_, (_, actions))| actions.saturating_mul(2) >= most).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::whole_record;

    #[test]
    fn the_newest_that_is_whole() {
        assert_eq!(whole_record(&[]), None);
        assert_eq!(whole_record(&[(true, 3)]), Some(0));
        assert_eq!(whole_record(&[(true, 9), (false, 4)]), Some(1));
        assert_eq!(whole_record(&[(false, 1), (false, 2), (false, 5), (false, 6)]), Some(2));
        assert_eq!(whole_record(&[(false, 3), (false, 6), (true, 90)]), Some(0));
        assert_eq!(whole_record(&[(true, 1), (true, 6)]), Some(1));
    }
}
