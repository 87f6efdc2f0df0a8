using System.Globalization;
using SafePool;
using SafePool.FrozenProcess;

// A process for a test to stop and to let go on. It holds one lease all the time, and asks for another one when it is told to; or,
// when there is a second argument, it has as many idle connections, or leased ones where a third says so, and uses them all when it is told to.
var isIdle = args.Length >= 2;
var options = new ConnectionPoolOptions
{
    ConnectionString = args[0],
    MaxSize = isIdle ? int.Parse(args[1], CultureInfo.InvariantCulture) : 2,
    AcquireTimeout = TimeSpan.FromSeconds(5),
};
options.Leaks.Threshold = TimeSpan.FromSeconds(8);
using var log = new ConsoleLog();
await using var pool = new ConnectionPool(options, log);
if (isIdle)
{
    await (args.Length == 2 ? IdleProcess.RunAsync(pool, options.MaxSize) : IdleProcess.HoldAsync(pool, options.MaxSize));
    return;
}

await using var held = await pool.RentAsync();
Console.WriteLine("leased");
Console.ReadLine();

try
{
#pragma warning disable SFP0004 // There are two places, and nobody else.
    await using var second = await pool.RentAsync();
#pragma warning restore SFP0004
    await using var command = second.CreateCommand("SELECT 1");
    await command.ExecuteScalarAsync();
    Console.WriteLine("served");
}
catch (PoolException error)
{
    Console.WriteLine($"failed: {error.Message.ReplaceLineEndings(" ")}");
}

// What there is to be said against anybody is said at the next ticks.
await Task.Delay(TimeSpan.FromSeconds(2), TimeProvider.System);
Console.WriteLine($"circuit {pool.GetSnapshot().Circuit}");
