using SafePool;

var builder = WebApplication.CreateSlimBuilder(args);
builder.Services.AddSafePool(builder.Configuration.GetSection("Pool"), options => options.Name = "web");
builder.Services.AddHealthChecks().AddSafePoolReadiness();
var app = builder.Build();

app.MapGet("/answer", async (IConnectionPool pool, CancellationToken cancellationToken) =>
{
    await using var lease = await pool.RentAsync(cancellationToken);
    await using var command = lease.CreateCommand("SELECT 6 * 7");
    return $"{await command.ExecuteScalarAsync(cancellationToken)}";
});
app.MapGet("/pool", (IConnectionPool pool) => $"{pool.Name}: {pool.GetSnapshot().TotalRents} rents, {pool.GetSnapshot().Leased} leased");

app.MapHealthChecks("/health/ready");

app.Run();
