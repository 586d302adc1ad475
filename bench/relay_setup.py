"""How long a client waits until it may talk: `python -m bench.relay_setup` (PR-2)."""

from bench import machine
from bench.load import Plan
from bench.relay_messages import doors, run

VISITS = 400
# Clients at a time: one finds the relay at rest, the others find it busy.
CROWDS = (1, 16)


def main() -> None:
    print(f"{VISITS} connections: ms from the first packet to the reply to EHLO, and from EHLO to its reply")
    print(f"{'':34} {'P50':>8} {'P95':>8} {'P99':>8}   {'EHLO P50':>8} {'P95':>8} {'P99':>8}")
    with doors() as (relay, _):
        for tls in ("implicit", "starttls"):
            for crowd in CROWDS:
                plan = Plan(
                    port=relay.ports[tls], tls=tls, ca=relay.ca, sign_in="", visits=VISITS, at_a_time=crowd, each=0
                )
                seen = run(plan)
                setup, ehlo = machine.percentiles(seen["setup"]), machine.percentiles(seen["ehlo"])
                name = f"{tls}, {crowd} at a time"
                print(f"{name:34}", *(f"{x:8.2f}" for x in setup), " ", *(f"{x:8.2f}" for x in ehlo), flush=True)
    print("Targets: P95 below 200 ms, EHLO below 10 ms.\n")


if __name__ == "__main__":
    main()
