//! What the tests in `tests/` are made of: the rules of the house, each as a function that a bad
//! sample proves able to fail. The journeys are in `tests/journeys`, their tools in `testkit`.
