//! Days survive being written and read, and a wrong one is refused with its place and the way out.

use proptest::prelude::*;
use takeaway_world::{Day, DayFiles, GenerateOptions};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_day_survives_being_written_and_read(seed: u64, orders in 1u32..40, restaurants in 1u32..10, riders in 0u32..10) {
        let day = Day::generate(seed, GenerateOptions { orders, restaurants, riders });
        prop_assert_eq!(Day::parse(&day.to_files()).expect("reads what it writes"), day);
    }

    #[test]
    fn no_text_makes_the_parser_panic(orders in "[a-z0-9\t\n-]{0,80}", riders in "[a-z0-9\t\n_]{0,80}") {
        let mut files = small_day();
        files.orders.push_str(&orders);
        files.couriers.push_str(&riders);
        let _ = Day::parse(&files);
        files.orders = orders;
        prop_assert!(Day::parse(&files).is_err());
    }
}

fn small_day() -> DayFiles {
    Day::generate(1, GenerateOptions { orders: 3, restaurants: 2, riders: 2 }).to_files()
}

fn check(change: impl Fn(&mut DayFiles), expect: &str) {
    let mut files = small_day();
    change(&mut files);
    let error = Day::parse(&files).expect_err(expect).to_string();
    assert!(error.contains(expect), "{error}\nshould say\n{expect}");
}

#[test]
fn a_wrong_day_is_refused_with_its_place_and_the_way_out() {
    check(
        |files| files.orders.push_str("o9\t1\t2\tnoon\tr1\t700\n"),
        "read orders.txt, line 5, column \"placement_time\": \"noon\" is out of place; write a whole number from 0 to",
    );
    check(
        |files| files.orders.push_str("o9\t1\t2\t600\tr7\t700\n"),
        "column \"restaurant\": r7 is not in restaurants.txt;",
    );
    check(
        |files| files.orders.push_str("o9\t1\t2\t600\tr1\t500\n"),
        "column \"ready_time\": the food is ready at 500",
    );
    check(
        |files| files.orders.push_str("o1\t1\t2\t600\tr1\t700\n"),
        "line 5, column \"order\": o1 is there twice;",
    );
    check(
        |files| files.orders.push_str("9\t1\t2\t600\tr1\t700\n"),
        "write the letter o and a number, like o12",
    );
    check(|files| files.orders.push_str("o9\t1\t2\t600\n"), "column \"restaurant\": nothing is there;");
    check(|files| files.orders.truncate(0), "orders.txt, line 1, column \"order\": this column is missing;");
    check(
        |files| files.couriers = files.couriers.replace("off_time", "end_time"),
        "couriers.txt, line 1, column \"off_time\": this column is missing; the first line names the columns",
    );
    check(
        |files| files.couriers.push_str("c9\t1\t2\t600\t500\n"),
        "the shift ends at 500, before it begins at 600;",
    );
    check(
        |files| files.restaurants.push_str("r9\t1\t99999999999\n"),
        "restaurants.txt, line 4, column \"y\"",
    );
    check(
        |files| files.parameters = files.parameters.replace("320", "NaN"),
        "instance_parameters.txt, line 2, column \"meters_per_minute\": \"NaN\" is out of place;",
    );
}

#[test]
fn a_missing_folder_is_named() {
    let error = Day::read(std::path::Path::new("/nowhere/at/all")).expect_err("there is none").to_string();
    assert!(
        error.starts_with("read /nowhere/at/all/restaurants.txt") || error.contains("/nowhere/at/all/"),
        "{error}"
    );
    assert!(error.contains("a day is a folder with orders.txt"), "{error}");
}

#[test]
fn columns_may_come_in_another_order_with_windows_line_ends() {
    let mut files = small_day();
    files.restaurants = "y\trestaurant\tx\r\n5\tr1\t3\r\n\r\n6\tr2\t4\r\n".to_string();
    let day = Day::parse(&files).expect("columns are found by name");
    assert_eq!((day.restaurants[0].at.x, day.restaurants[1].at.y), (3, 6));
}
