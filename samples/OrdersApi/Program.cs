using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.EntityFrameworkCore;
using OpenTelemetry.Metrics;
using SafePool;
using SafePool.Samples.OrdersApi;
using SafePool.Samples.OrdersApi.Endpoints;
using SafePool.TestKit;

try
{
    var builder = WebApplication.CreateBuilder(args);
    if (builder.Configuration["SafePool:ConnectionString"] is null)
    {
        builder.Configuration["SafePool:ConnectionString"] = (await TestDatabase.AcquireAsync()).ConnectionString;
    }

    // The pool, and everything that uses it: EF Core, Dapper, health checks, metrics.
    builder.Services.AddSafePool(builder.Configuration.GetSection("SafePool"));
    builder.Services.AddDbContextPool<OrdersContext>(options => options.UseSafePool());
    builder.Services.AddHealthChecks().AddSafePoolReadiness().AddSafePoolLiveness();
    builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(SafePoolTelemetry.MeterName).AddPrometheusExporter());
    builder.Services.AddProblemDetails().AddExceptionHandler<PoolFailureHandler>();

    var app = builder.Build();
    app.UseExceptionHandler();
    app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains("ready") });
    app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = check => check.Tags.Contains("live") });
    app.MapPrometheusScrapingEndpoint();
    app.MapOrders();
    app.MapReports();
    if (app.Configuration.GetValue<bool>("Leaky"))
    {
        app.MapLeak();
    }

    await SampleData.CreateAsync(app.Services);
    await app.RunAsync();
}
finally
{
    // Also when the service does not start: a configuration with a fault must not leave a server behind.
    await TestDatabase.ShutdownAsync();
}
