//! The calculator from outside: an expression and its text. The values are Python's own.

use std::time::{Duration, Instant};

use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::{ArithmeticError, MAX_EXPRESSION_BYTES, evaluate};

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        let answer = evaluate(expression).unwrap_or_else(|error| format!("error: {error}"));
        assert_eq!(&answer, expected, "{expression}");
    }
}

#[test]
fn integers_are_exact_and_division_is_a_float() {
    check(&[
        ("2+2*3", "8"),
        ("7/2", "3.5"),
        ("4/2", "2.0"),
        ("0/5", "0.0"),
        ("0/-5", "-0.0"),
        ("2**100", "1267650600228229401496703205376"),
        ("10**30 - 10**29 * 9", "100000000000000000000000000000"),
        ("-7//2 + -7%3", "-2"),
        ("7//-2", "-4"),
        ("7%-3", "-2"),
        ("-7//-2", "3"),
        ("-7%-3", "-1"),
        ("6//-3", "-2"),
        ("6%-3", "0"),
        ("10**30 // -7", "-142857142857142857142857142858"),
        ("10**30 % -7", "-6"),
        ("0**0", "1"),
        ("(-1)**(10**50+1)", "-1"),
        ("1**(10**50)", "1"),
        ("0**(10**50)", "0"),
        ("10**5000 // 10**4999", "10"),
    ]);
}

#[test]
fn the_quotient_of_long_integers_is_rounded_once() {
    check(&[
        ("10**400 / 10**390", "10000000000.0"),
        ("9007199254740993 / 1", "9007199254740992.0"),
        ("9007199254740995 / 1", "9007199254740996.0"),
        (
            "(2**1024 - 2**970) / 1",
            "error: integer division result too large for a float",
        ),
        ("(2**1024 - 2**970 - 1) / 1", "1.7976931348623157e+308"),
        ("1 / 2**1074", "5e-324"),
        ("1 / 2**1075", "0.0"),
        ("3 / 2**1076", "5e-324"),
        ("-1 / 10**400", "-0.0"),
        (
            "10**400 / 3",
            "error: integer division result too large for a float",
        ),
        ("0 / 10**400", "0.0"),
        ("(10**25 + 1) / 3", "3.3333333333333333e+24"),
    ]);
}

#[test]
fn floats_behave_and_print_as_in_python() {
    check(&[
        ("0.1+0.2", "0.30000000000000004"),
        (" ( 1 + 2.5 ) * -3e2 ", "-1050.0"),
        ("1e16", "1e+16"),
        ("1e15", "1000000000000000.0"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("0.0001", "0.0001"),
        ("0.00012345", "0.00012345"),
        ("0.00001", "1e-05"),
        ("1.5e-7", "1.5e-07"),
        ("1e100", "1e+100"),
        ("1e999", "inf"),
        ("-1e999", "-inf"),
        ("1e999-1e999", "nan"),
        ("-0.0", "-0.0"),
        ("1e308*10", "inf"),
        ("5e-324", "5e-324"),
        // The exact value ends in 5 one digit further: the even digit is printed.
        ("11.8333282470703125", "11.833328247070312"),
        ("7.5//2", "3.0"),
        ("-7.5//2", "-4.0"),
        ("-7.5%2", "0.5"),
        ("7.5%-2", "-0.5"),
        ("-6.0%3", "0.0"),
        ("6.0%-3", "-0.0"),
        ("-0.0//1", "-0.0"),
        ("1//0.1", "9.0"),
        ("1e999//1", "nan"),
        ("5%1e999", "5.0"),
        ("-5%1e999", "inf"),
        ("10**400*1.0", "error: int too large to convert to float"),
    ]);
}

#[test]
fn precedence_is_pythons() {
    check(&[
        ("-2**2", "-4"),
        ("(-2)**2", "4"),
        ("2**-1", "0.5"),
        ("2**3**2", "512"),
        ("2**-3**2", "0.001953125"),
        ("2**-3*4", "0.5"),
        ("-2*-3", "6"),
        ("--+-2", "-2"),
        ("2+-3", "-1"),
        ("100/10*2", "20.0"),
        ("2*3%4", "2"),
        ("10-4-3", "3"),
        ("+5", "5"),
    ]);
}

#[test]
fn powers_know_their_domain() {
    check(&[
        ("4**0.5", "2.0"),
        ("(-8)**3", "-512"),
        ("(-2.0)**-3", "-0.125"),
        (
            "(-8)**(1/3)",
            "error: a negative number to a fractional power is not a real number",
        ),
        ("(-1e999)**0.5", "inf"),
        ("0**-1", "error: zero to a negative power"),
        ("0.0**-0.5", "error: zero to a negative power"),
        ("1e200**2", "error: the result is too large for a float"),
        ("2**-1074", "5e-324"),
        ("2**-2000", "0.0"),
        ("(10**400)**-1", "error: int too large to convert to float"),
    ]);
}

#[test]
fn dividing_by_zero_is_one_error_for_all_numbers() {
    for expression in [
        "1/0",
        "1//0",
        "1%0",
        "1/0.0",
        "1.0//0",
        "1.0%-0.0",
        "0/0",
        "2**100/(1-1)",
    ] {
        assert_eq!(
            evaluate(expression),
            Err(ArithmeticError::DivisionByZero),
            "{expression}"
        );
        assert_eq!(evaluate(expression).unwrap_err().to_string(), "division by zero");
    }
}

#[test]
fn literals_are_pythons() {
    check(&[
        ("1_000", "1000"),
        ("0", "0"),
        ("000", "0"),
        ("0_0", "0"),
        ("0xfF", "255"),
        ("0X_f", "15"),
        ("0b101", "5"),
        ("0o17", "15"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("1.e5", "100000.0"),
        ("1E+3", "1000.0"),
        ("007.5", "7.5"),
        ("09e1", "90.0"),
        ("1_0.0_1", "10.01"),
        ("1e1_0", "10000000000.0"),
        ("\t1\n + 2\r\n", "3"),
    ]);
    for wrong in [
        "007", "0_7", "1__0", "1_", "_1_", "0x", "0x_", "0b12", "0o8", "1e", "1e+", "1._5", "1_.0", ".",
        "5j", "1x",
    ] {
        assert!(evaluate(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_not_arithmetic_is_an_error_and_never_evaluated() {
    check(&[
        ("", "error: invalid syntax: expected a number at column 1"),
        ("2+", "error: invalid syntax: expected a number at column 3"),
        ("2 3", "error: invalid syntax: expected an operator at column 3"),
        ("1..2", "error: invalid syntax: expected an operator at column 3"),
        ("()", "error: invalid syntax: expected a number at column 2"),
        ("(1", "error: invalid syntax: '(' was never closed at column 1"),
        ("1)", "error: invalid syntax: unmatched ')' at column 2"),
        ("*2", "error: invalid syntax: expected a number at column 1"),
        ("2***3", "error: invalid syntax: expected a number at column 4"),
        ("x+1", "error: name 'x' is not defined"),
        ("True", "error: name 'True' is not defined"),
        ("ünde * 2", "error: name 'ünde' is not defined"),
        (
            "abs(1)",
            "error: invalid syntax: calls are not arithmetic at column 4",
        ),
        (
            "'a'*3",
            "error: invalid syntax: '\\'' is not arithmetic at column 1",
        ),
        (
            "1 < 2",
            "error: invalid syntax: '<' is not arithmetic at column 3",
        ),
        ("1, 2", "error: invalid syntax: ',' is not arithmetic at column 2"),
        (
            "é = 2",
            "error: invalid syntax: '=' is not arithmetic at column 3",
        ),
        (
            "2 & 3",
            "error: invalid syntax: '&' is not arithmetic at column 3",
        ),
        (
            "x.real",
            "error: invalid syntax: a point without digits at column 2",
        ),
        ("1/0 + (", "error: invalid syntax: expected a number at column 8"),
        ("１", "error: invalid syntax: '１' is not arithmetic at column 1"),
        ("\0", "error: invalid syntax: '\\0' is not arithmetic at column 1"),
    ]);
    assert!(evaluate("__import__('os').system('id')").is_err());
}

#[test]
fn size_is_bounded() {
    let nines = "9".repeat(4_300);
    assert_eq!(evaluate(&nines).as_ref(), Ok(&nines));
    check(&[
        ("10**4299 - 10**4299 + 1", "1"),
        ("10**4300", "error: the result has more than 4300 digits"),
        ("-10**4300", "error: the result has more than 4300 digits"),
        ("9**9**9", "error: the result is too large: more than 65536 bits"),
        (
            "9**9**9**9",
            "error: the result is too large: more than 65536 bits",
        ),
        (
            "2**65536 % 7",
            "error: the result is too large: more than 65536 bits",
        ),
        ("2**65535 % 7", "1"),
        (
            "2**40000 * 2**40000",
            "error: the result is too large: more than 65536 bits",
        ),
        (
            "(-2)**(10**30)",
            "error: the result is too large: more than 65536 bits",
        ),
    ]);
    assert!(evaluate(&"9".repeat(4_301)).is_err());
    assert!(evaluate(&format!("1{}", " ".repeat(MAX_EXPRESSION_BYTES))).is_err());
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let thread = std::thread::Builder::new().stack_size(64 * 1024);
    let checked = thread.spawn(|| {
        let nested = |depth: usize| format!("{}7{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(evaluate(&nested(8_000)), Ok("7".to_owned()));
        assert!(evaluate(&"-".repeat(10_000)).is_err());
        assert_eq!(evaluate(&format!("{}7", "-".repeat(10_000))), Ok("7".to_owned()));
        assert!(evaluate(&"(".repeat(10_000)).is_err());
        assert!(
            evaluate(&nested(10_000)).is_err(),
            "longer than an expression may be"
        );
        assert_eq!(evaluate(&format!("{}1", "1**".repeat(5_000))), Ok("1".to_owned()));
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn long_chains_of_long_numbers_run_out_of_work() {
    let chain = format!("1{}", "*3**40000//3**39990".repeat(800));
    let started = Instant::now();
    let error = evaluate(&chain).unwrap_err();
    assert_eq!(error.to_string(), "the expression takes too much work");
    // Generous: a debug build on a busy machine takes a tenth of it.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

/// Texts that look like expressions: mostly tokens, so that evaluation is reached and not only the parser.
fn expression() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[-+*/%() ]",
        4 => any::<u64>().prop_map(|number| number.to_string()),
        2 => any::<f64>().prop_map(|number| format!("{number:e}")),
        2 => proptest::sample::select(vec!["**", "//", "9", "0", "1e308", "10**4000", "2**60000", "0x1f", ".5"])
            .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Well-formed sums, products and powers of long integers.
fn heavy() -> impl Strategy<Value = String> {
    let term = proptest::sample::select(vec!["9**20000", "10**4000", "7", "(2**65535-1)", "1_000_003"]);
    let operator = proptest::sample::select(vec!["+", "-", "*", "//", "%", "**", "/"]);
    proptest::collection::vec((term, operator), 1..400).prop_map(|pairs| {
        pairs
            .iter()
            .map(|(term, operator)| format!("{term}{operator}"))
            .collect::<String>()
            + "3"
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_text_makes_it_panic_or_run_long(text in prop_oneof![3 => expression(), 1 => heavy(), 1 => any::<String>()]) {
        let started = Instant::now();
        let answer = evaluate(&text);
        assert!(started.elapsed() < Duration::from_secs(5), "{text}: {:?}", started.elapsed());
        if let Ok(answer) = answer {
            assert!(answer.len() <= 4_301, "{text}");
        }
    }

    #[test]
    fn a_printed_float_reads_back_as_itself(value in any::<f64>()) {
        let printed = super::float::printed(value);
        let read: f64 = printed.parse().unwrap();
        assert!(read.to_bits() == value.to_bits() || value.is_nan(), "{printed}");
    }

    #[test]
    fn small_integers_agree_with_the_machine(left in -1_000_000_i64..1_000_000, right in -1_000_i64..1_000) {
        let text = |operator: &str| evaluate(&format!("({left}) {operator} ({right})"));
        assert_eq!(text("+"), Ok((left + right).to_string()));
        assert_eq!(text("-"), Ok((left - right).to_string()));
        assert_eq!(text("*"), Ok((left * right).to_string()));
        if right != 0 {
            let floor = (left as f64 / right as f64).floor() as i64;
            assert_eq!(text("//"), Ok(floor.to_string()));
            assert_eq!(text("%"), Ok((left - floor * right).to_string()));
        }
    }
}
