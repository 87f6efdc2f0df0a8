using SafePool;

await using var pool = ConnectionPool.Create(args[0], options =>
{
    options.Name = "console";
    options.MaxSize = 2;
    options.AcquireTimeout = options.ConnectTimeout = TimeSpan.FromSeconds(30);
    options.StatementTimeout = TimeSpan.FromSeconds(5);
    options.PhysicalConnectionOpened = (_, _) => ValueTask.CompletedTask;
});

await using (var lease = await pool.RentAsync())
{
    await using var command = lease.CreateCommand("SELECT current_setting('statement_timeout') || $1");
    command.Parameters.Add(new() { Value = "!" });
    Console.WriteLine($"timeout: {await command.ExecuteScalarAsync()}");
}

#pragma warning disable SFP0001, SFP0004 // It runs out on purpose.
await using (var transaction = await pool.RentAsync())
{
    await using var begun = await transaction.BeginTransactionAsync();
    using var other = pool.Rent();
    try
    {
        await pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(1) });
    }
    catch (PoolExhaustedException error)
    {
        Console.WriteLine($"exhausted: {error.Holders.Length} holders");
    }
}
#pragma warning restore SFP0001, SFP0004

await pool.WarmUpAsync();
var report = await pool.GetServerReportAsync();
Console.WriteLine($"server: {report.OfThisPool} of this pool");
Console.WriteLine($"recorded: {pool.DumpFlightRecorder().Length > 0}");
Console.WriteLine($"drained: {(await pool.DrainAsync(TimeSpan.FromSeconds(5))).Drained}");
