"""A portal backend that says yes: what a desktop would ask its user (may this page use the camera?), it grants.
Run by the system's Python, whose bindings of D-Bus are not a package of the environment."""

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)


class Access(dbus.service.Object):
    @dbus.service.method(
        "org.freedesktop.impl.portal.Access", in_signature="osssssa{sv}", out_signature="ua{sv}", byte_arrays=True
    )
    def AccessDialog(self, handle, app_id, parent, title, subtitle, body, options):
        return dbus.UInt32(0), dbus.Dictionary(signature="sv")


name = dbus.service.BusName("org.freedesktop.impl.portal.desktop.yes", dbus.SessionBus())
Access(name, "/org/freedesktop/portal/desktop")
GLib.MainLoop().run()
