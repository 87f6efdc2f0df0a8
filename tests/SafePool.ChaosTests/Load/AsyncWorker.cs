namespace SafePool.ChaosTests.Load;

/// <summary>A worker that awaits, with tokens that are cancelled at any time.</summary>
internal sealed class AsyncWorker(Round round, int number, int seed) : Worker(round, $"async {number}", seed)
{
    protected override async Task RunAsync()
    {
        await Task.Yield();
        while (!Round.IsOver)
        {
            IsAtGate = Round.Gate.IsClosed;
            await Round.Gate.PassAsync();
            IsAtGate = false;
            await RequestAsync();
            await Task.Delay(TimeSpan.FromMilliseconds(Random.Next(15)), TimeProvider.System, CancellationToken.None);
        }

        IsAtGate = true;
    }

    private async Task RequestAsync()
    {
        Round.Journal.CountRequest();
        if (Random.Percent(0.2))
        {
            Begin("clears");
            Round.Pool.Clear();
        }

        using var impatience = new CancellationTokenSource();
        if (await TryRentAsync(impatience) is not { } session)
        {
            return;
        }

        var physical = Round.Occupancy.Enter(session.Connection, Name);
        await UseAsync(session);
        Round.Occupancy.Leave(physical);
        if (session.Lease is not null && Random.Percent(Round.LosesPercent))
        {
            // Nobody has it any more.
            Round.Lose(session);
            return;
        }

        await ReturnAsync(session);
    }

    private async Task<Session?> TryRentAsync(CancellationTokenSource impatience)
    {
        var isDropIn = Random.Percent(10);
        var options = isDropIn ? null : DrawOptions();
        var (budget, token) = (BudgetOf(options), CancellationToken.None);
        if (Random.Percent(30))
        {
            token = impatience.Token;
            var after = Random.Percent(10) ? TimeSpan.Zero : Random.Milliseconds(1, 2000);
            budget = after < budget ? after : budget;
            if (after == TimeSpan.Zero)
            {
                await impatience.CancelAsync();
            }
            else
            {
                impatience.CancelAfter(after);
            }
        }

        var how = isDropIn ? "of a drop-in" : "async";
        var from = Begin($"rents {how}, {budget.TotalMilliseconds:0} ms");
        try
        {
            var session = isDropIn
                ? new Session(await Round.Pool.OpenConnectionAsync(token))
                : new Session(await (options is null ? Round.Pool.RentAsync(token) : Round.Pool.RentAsync(options, token)));
            Rented(how, from, budget, hasWords: false);
            return session;
        }
#pragma warning disable CA1031 // What may be thrown is what is tested.
        catch (Exception error)
#pragma warning restore CA1031
        {
            Refused(how, from, budget, hasWords: false, error, token);
            return null;
        }
    }

    private async Task UseAsync(Session session)
    {
        Begin("works");
        using var impatience = new CancellationTokenSource(Random.Milliseconds(1, 20_000));
        try
        {
            await new AsyncUses(Random, Round).UseAsync(session, Random.Percent(50) ? impatience.Token : CancellationToken.None);
        }
#pragma warning disable CA1031 // As above.
        catch (Exception error)
#pragma warning restore CA1031
        {
            Failed(session, error);
        }
    }

    private async Task ReturnAsync(Session session)
    {
        var from = Begin("returns");
        try
        {
            await session.ReturnAsync();
            Returned(session, from);
            await session.ReturnAsync();
        }
#pragma warning disable CA1031 // As above.
        catch (Exception error)
#pragma warning restore CA1031
        {
            NotReturned(session, error);
        }
    }
}
