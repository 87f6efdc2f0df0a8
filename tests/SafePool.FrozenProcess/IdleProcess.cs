namespace SafePool.FrozenProcess;

/// <summary>A service between two requests: all its connections are idle.</summary>
internal static class IdleProcess
{
    public static async Task RunAsync(ConnectionPool pool, int connections)
    {
        await RequestAsync(pool, connections);
        Console.WriteLine("idle");
        Console.ReadLine();
        try
        {
            await RequestAsync(pool, connections);
            Console.WriteLine("served");
        }
        catch (Exception error)
        {
            Console.WriteLine($"failed: {error.Message.ReplaceLineEndings(" ")}");
        }
    }

    private static Task RequestAsync(ConnectionPool pool, int requests)
        => Task.WhenAll(Enumerable.Range(0, requests).Select(async _ =>
        {
            await using var lease = await pool.RentAsync();
            await using var command = lease.CreateCommand("SELECT pg_sleep(0.1)");
            await command.ExecuteScalarAsync();
        }));
}
