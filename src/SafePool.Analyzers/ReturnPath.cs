using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>Whether one of some disposes is certain to be reached, whatever throws on the way.</summary>
/// <param name="disposes">The using statements and declarations, and the calls of Dispose, of one lease.</param>
internal sealed class ReturnPath(HashSet<IOperation> disposes)
{
    private enum Step
    {
        /// <summary>Neither disposes nor can end the method.</summary>
        Harmless,

        /// <summary>Disposes for certain.</summary>
        Settles,

        /// <summary>May throw, or return, or dispose only sometimes.</summary>
        Risks,
    }

    public bool IsSafeAfter(IOperation acquired)
    {
        if (acquired is IInvocationOperation { Type.SpecialType: SpecialType.System_Boolean } or IIsPatternOperation && Branch(acquired) is { } taken)
        {
            return Walk(taken.Inside) == Step.Settles || (taken.Inside.Count == 0 && IsSafeFrom(taken.Choice));
        }

        return IsSafeFrom(acquired);
    }

    private bool IsSafeFrom(IOperation operation)
    {
        for (var child = operation; child.Parent is { } parent; child = parent)
        {
            switch (parent)
            {
                case ITryOperation @try when @try.Body == child && @try.Finally is { } @finally && Contains(@finally):
                    return true;
                case IAnonymousFunctionOperation or ILocalFunctionOperation:
                    return false;
                case IBlockOperation or ISwitchCaseOperation:
                    var step = Walk(Sequence.Of(parent)!.Value.After(child));
                    if (step != Step.Harmless)
                    {
                        return step == Step.Settles || IsInFinally(parent);
                    }

                    break;
                case ILoopOperation:
                    // The next turn overwrites it.
                    return false;
            }
        }

        return false;
    }

    /// <summary>A try around the rest, whose finally disposes.</summary>
    private bool IsInFinally(IOperation operation)
    {
        for (var child = operation; child.Parent is { } parent and not (IAnonymousFunctionOperation or ILocalFunctionOperation); child = parent)
        {
            if (parent is ITryOperation { Finally: { } @finally } @try && @try.Body == child && Contains(@finally))
            {
                return true;
            }
        }

        return false;
    }

    private Step Walk(IEnumerable<IOperation> statements)
    {
        foreach (var statement in statements)
        {
            var step = Look(statement);
            if (step != Step.Harmless)
            {
                return step;
            }
        }

        return Step.Harmless;
    }

    private Step Look(IOperation statement) => statement switch
    {
        IUsingOperation use when disposes.Contains(use) || Contains(use.Resources) => Step.Settles,
        IUsingOperation use when !MayEnd(use.Resources) => Look(use.Body),
        IUsingDeclarationOperation use when Contains(use) => Step.Settles,
        ITryOperation { Finally: { } @finally } when Contains(@finally) => Step.Settles,
        ITryOperation @try when @try.Catches.IsEmpty => Walk(@try.Body.Operations),
        IBlockOperation block => Walk(block.Operations),
        IConditionalOperation { WhenFalse: { } otherwise } choice when !MayEnd(choice.Condition) => Both(Look(choice.WhenTrue), Look(otherwise)),
        IExpressionStatementOperation call when Contains(call) => Step.Settles,
        _ => MayEnd(statement) || Contains(statement) ? Step.Risks : Step.Harmless,
    };

    private static Step Both(Step one, Step other) => one == other ? one : Step.Risks;

    private bool Contains(IOperation within) => within.DescendantsAndSelf().Any(disposes.Contains);

    private static bool MayEnd(IOperation statement)
        => statement is not ILocalFunctionOperation
            && statement.DescendantsAndSelf().Any(operation => operation is IInvocationOperation or IObjectCreationOperation or IThrowOperation
                or IAwaitOperation or IReturnOperation or IBranchOperation or IForEachLoopOperation);

    /// <summary>What is done when a call of TryRent, another that hands a lease out, or a pattern says yes: a branch, or what comes after one that leaves.</summary>
    private static (IReadOnlyList<IOperation> Inside, IOperation Choice)? Branch(IOperation attempt)
    {
        var saysNo = attempt is IIsPatternOperation { Pattern: INegatedPatternOperation };
        var question = attempt;
        if (question.Parent is IUnaryOperation { OperatorKind: UnaryOperatorKind.Not } not)
        {
            (saysNo, question) = (!saysNo, not);
        }

        return question.Parent is not IConditionalOperation choice || choice.Condition != question ? null
            : saysNo ? (Array.Empty<IOperation>(), choice)
            : (new[] { choice.WhenTrue }, choice);
    }
}
