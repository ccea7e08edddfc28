//! What the wall clock says where this process is.

/// A moment of the local calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalTime {
    /// Year, such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
    /// 1 to 366.
    pub day_of_year: u32,
}

/// The moment now, in the time zone of the environment; UTC where the system does not know it. Any thread.
pub fn now() -> LocalTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    local(i64::try_from(since.as_secs()).unwrap_or(0))
}

/// The local calendar at `seconds` after the beginning of 1970 in UTC.
#[cfg(unix)]
pub fn local(seconds: i64) -> LocalTime {
    let mut found = std::mem::MaybeUninit::<libc::tm>::zeroed();
    let time: libc::time_t = seconds;
    // SAFETY: reads a number that is ours, writes a structure that is ours.
    if unsafe { libc::localtime_r(&time, found.as_mut_ptr()) }.is_null() {
        return LocalTime::default();
    }
    // SAFETY: zeroed before, and filled by the call that succeeded.
    let tm = unsafe { found.assume_init() };
    LocalTime {
        year: tm.tm_year + 1900,
        month: tm.tm_mon.unsigned_abs() + 1,
        day: tm.tm_mday.unsigned_abs(),
        hour: tm.tm_hour.unsigned_abs(),
        minute: tm.tm_min.unsigned_abs(),
        second: tm.tm_sec.unsigned_abs(),
        day_of_year: tm.tm_yday.unsigned_abs() + 1,
    }
}

/// The calendar of UTC at `seconds` after the beginning of 1970.
#[cfg(not(unix))]
pub fn local(seconds: i64) -> LocalTime {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400) as u32;
    // Days counted from 1 March of the year 0, in cycles of 400 years.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    let year = (yoe + era * 400 + i64::from(month <= 2)) as i32;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    LocalTime {
        year,
        month,
        day,
        hour: rest / 3600,
        minute: rest / 60 % 60,
        second: rest % 60,
        day_of_year: before + day + u32::from(leap && month > 2),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_calendar_has_this_year() {
        let now = super::now();
        assert!(now.year >= 2024 && (1..=12).contains(&now.month) && (1..=31).contains(&now.day), "{now:?}");
        assert!(now.hour < 24 && now.minute < 60 && now.second <= 60 && now.day_of_year >= 1, "{now:?}");
    }
}
