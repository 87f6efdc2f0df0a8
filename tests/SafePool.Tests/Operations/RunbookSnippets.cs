namespace SafePool.Tests.Operations;

/// <summary>The C# of docs/runbook.md, which a test compares with what stands here between the marks.</summary>
internal static class RunbookSnippets
{
    public static async Task<ServerReport> CountAsync(ConnectionPool pool, TextWriter log, CancellationToken cancellationToken)
    {
        // runbook
        var report = await pool.GetServerReportAsync(cancellationToken);
        log.WriteLine(report);                                  // all figures in one line
        foreach (var (key, count) in report.Sessions.CountBy(session => (session.Application, session.State)))
        {
            log.WriteLine($"{key.Application ?? "?"}, {key.State ?? "hidden"}: {count}");
        }

        // end
        return report;
    }

    public static void Alert(ServerReport report, TextWriter log)
    {
        // runbook
        if (report.PercentUsed > 80)
        {
            log.WriteLine($"{report.Connections} of {report.MaxConnections}: {string.Join(", ", report.ByApplication.Take(3))}");
        }

        // end
    }

    public static async Task TerminateAsync(ConnectionPool pool, TextWriter log, CancellationToken cancellationToken)
    {
        // runbook
        var plan = await pool.TerminateIdleSessionsAsync(TimeSpan.FromMinutes(5), "billing", cancellationToken: cancellationToken);
        log.WriteLine(plan);                                    // each session, and what would become of it
        var done = await pool.TerminateIdleSessionsAsync(TimeSpan.FromMinutes(5), "billing", dryRun: false, cancellationToken: cancellationToken);
        log.WriteLine($"{done.Terminated} terminated");

        // end
    }

    public static async Task<object?> RentAsync(ConnectionPool pool, CancellationToken cancellationToken)
    {
        // runbook
        await using var lease = await pool.RentAsync(cancellationToken);    // 'using' is all that it takes
        await using var command = lease.CreateCommand("SELECT count(*) FROM orders");
        var orders = await command.ExecuteScalarAsync(cancellationToken);

        // end
        return orders;
    }

    public static async Task SizeAsync(string connectionString, Func<ConnectionPool, Task> use)
    {
        // runbook
        await using var pool = ConnectionPool.Create(connectionString, options =>
        {
            options.MaxSize = 20;                                             // for each instance
            options.ExpectedInstances = 4;                                    // 4 × 20 is compared with the server's room
            options.StatementTimeout = TimeSpan.FromSeconds(10);              // no query holds a connection for longer
            options.IdleInTransactionTimeout = TimeSpan.FromSeconds(30);
            options.Leaks.AbandonAfter = TimeSpan.FromMinutes(2);             // quiet leases are taken away while others wait
            options.Breaker.TripOnExhaustionAfter = TimeSpan.FromSeconds(10); // full and nothing returned for so long: fail at once
        });

        // end
        await use(pool);
    }

    public static void Monitor(ConnectionPool pool, TextWriter log)
    {
        // runbook
        var snapshot = pool.GetSnapshot();
        log.WriteLine($"{snapshot.Leased} of {snapshot.MaxSize} leased, {snapshot.Waiting} waiting, {snapshot.TotalTimeouts} timeouts, {snapshot.TotalLeaksReported} leaks, circuit {snapshot.Circuit}");

        // end
    }

    public static async Task<TimeSpan?> BreakAsync(ConnectionPool pool, TextWriter log, CancellationToken cancellationToken)
    {
        // runbook
        try
        {
            await using var lease = await pool.RentAsync(cancellationToken);
            return null;                                        // work
        }
        catch (CircuitOpenException error)
        {
            return error.RetryAfter;                            // 503 with Retry-After
        }
        catch (PoolExhaustedException error)
        {
            log.WriteLine(error.Message);                       // why, with the numbers
            return error.RetryAfter ?? TimeSpan.FromSeconds(1);
        }

        // end
    }
}
