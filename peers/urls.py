from django.urls import path

from peers import views

urlpatterns = [
    path("", views.devices, name="devices"),
    path("devices/<uuid:pk>/", views.device, name="device"),
    path("devices/<uuid:pk>/config", views.config, name="config"),
    path("devices/<uuid:pk>/status", views.status, name="status"),
    path("devices/<uuid:pk>/rename", views.rename, name="rename"),
    path("devices/<uuid:pk>/replace-key", views.replace_key, name="replace-key"),
    path("devices/<uuid:pk>/revoke", views.revoke, name="revoke"),
]
