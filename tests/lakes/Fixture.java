package org.apache.iceberg.rest;

import java.net.InetSocketAddress;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.CatalogUtil;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/** The REST catalog that Iceberg tests itself with, for this machine alone: its own `main` is there for the whole network. */
final class Fixture {
    private Fixture() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> settings = RCKUtils.environmentCatalogConfig();
        var catalog = CatalogUtil.buildIcebergCatalog("lakes", settings, new Configuration());
        var context = new RESTCatalogServer.CatalogContext(catalog, settings);
        var handler = new ServletContextHandler();
        handler.addServlet(new ServletHolder(new RESTCatalogServlet(new RESTServerCatalogAdapter(context))), "/*");
        var server = new Server(new InetSocketAddress("127.0.0.1", 0));
        server.setHandler(handler);
        server.start();
        System.out.println("listens at 127.0.0.1:" + ((ServerConnector) server.getConnectors()[0]).getLocalPort());
        server.join();
    }
}
