"""Pictures: charts of fits, comparisons and gradient reports, and whole pages in one file that loads nothing.

Needs the extra `viz`: importing this room without it is one error that says what to install.
"""

from gdbackends.errors import require_package

for _package, _module in (("altair", "altair"), ("vl-convert-python", "vl_convert"), ("jinja2", "jinja2")):
    require_package("gdbackends.pictures", _package, "viz", _module)
