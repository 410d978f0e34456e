package e2e

const childOf = "NEARSIDE_E2E_CHILD_OF"

func child(string) int { return 0 }
