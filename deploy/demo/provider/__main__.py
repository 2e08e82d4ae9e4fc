"""Prepare the demo identity provider: its client and people, one person, or all of them as they were at first."""

import argparse

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.provider", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("setup")
    setup.add_argument("redirect_uri")
    setup.add_argument("signed_out_uri")
    commands.add_parser("reset")
    person = commands.add_parser("person")
    person.add_argument("name")
    person.add_argument("state", choices=["active", "disabled"])
    person.add_argument("--groups", nargs="*", help="left out: the groups stay as they are")
    options = parser.parse_args()
    django.setup()
    from deploy.demo.provider import store

    if options.command == "setup":
        store.setup(options.redirect_uri, options.signed_out_uri)
    elif options.command == "reset":
        store.reset()
    else:
        store.set_person(options.name, active=options.state == "active", groups=options.groups)


if __name__ == "__main__":
    main()
