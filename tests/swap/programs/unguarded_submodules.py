# only ours: it has no guard
"""A script without a guard imports modules of packages, which binds the packages."""

import urllib.robotparser
import wsgiref.util
import xml.dom.minidom

from pool import Executor


def title(text):
    return xml.dom.minidom.parseString(text).documentElement.tagName


class Rules:
    def allows(self, page):
        parser = urllib.robotparser.RobotFileParser()
        parser.parse(["User-agent: *", "Disallow: /private"])
        return parser.can_fetch("any", page)


def is_hop_by_hop(name):
    return (lambda: wsgiref.util.is_hop_by_hop(name))()


with Executor(max_workers=1) as executor:
    print(executor.submit(title, "<a/>").result())
    print(executor.submit(Rules().allows, "/private").result())
    print(executor.submit(is_hop_by_hop, "Connection").result())

# prints:
# a
# False
# True
