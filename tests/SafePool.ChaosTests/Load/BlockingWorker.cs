namespace SafePool.ChaosTests.Load;

/// <summary>A worker that blocks a thread of its own.</summary>
internal sealed class BlockingWorker(Round round, int number, int seed) : Worker(round, $"blocking {number}", seed)
{
    protected override Task RunAsync()
        => Task.Factory.StartNew(Run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run()
    {
        while (!Round.IsOver)
        {
            IsAtGate = Round.Gate.IsClosed;
            Round.Gate.PassAsync().GetAwaiter().GetResult();
            IsAtGate = false;
            Request();
            Task.Delay(TimeSpan.FromMilliseconds(Random.Next(15)), TimeProvider.System).Wait();
        }

        IsAtGate = true;
    }

    private void Request()
    {
        Round.Journal.CountRequest();
        if (TryRent() is not { } session)
        {
            return;
        }

        var physical = Round.Occupancy.Enter(session.Connection, Name);
        Begin("works");
        try
        {
            new BlockingUses(Random, Round).Use(session);
        }
#pragma warning disable CA1031 // What may be thrown is what is tested.
        catch (Exception error)
#pragma warning restore CA1031
        {
            Failed(session, error);
        }

        Round.Occupancy.Leave(physical);
        Return(session);
    }

    private Session? TryRent()
    {
        var draw = Random.Next(10);
        var options = draw > 1 ? DrawOptions() : null;
        var (how, budget) = draw switch
        {
            0 => ("by TryRent", TimeSpan.Zero),
            1 => ("of a blocking drop-in", Round.AcquireTimeout),
            _ => ("blocking", BudgetOf(options)),
        };
        var from = Begin($"rents {how}, {budget.TotalMilliseconds:0} ms");
        try
        {
            Session? session;
            switch (draw)
            {
                case 0:
                    session = Round.Pool.TryRent(out var lease) ? new Session(lease) : null;
                    break;
                case 1:
                    session = new Session(Round.Pool.OpenConnection());
                    break;
                default:
                    session = new Session(Round.Pool.Rent(options));
                    break;
            }

            Rented(session is null ? $"{how} that found nothing" : how, from, budget, HasWords(options));
            return session;
        }
#pragma warning disable CA1031 // As above.
        catch (Exception error)
#pragma warning restore CA1031
        {
            Refused(how, from, budget, HasWords(options), error, CancellationToken.None);
            return null;
        }
    }

    private void Return(Session session)
    {
        var from = Begin("returns");
        try
        {
            session.Return();
            Returned(session, from);
            session.Return();
        }
#pragma warning disable CA1031 // As above.
        catch (Exception error)
#pragma warning restore CA1031
        {
            NotReturned(session, error);
        }
    }
}
